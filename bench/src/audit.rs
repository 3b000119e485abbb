//! What an entry of the audit log adds to a write: the same write with and without it, by writers in families of their own,
//! and by writers in one family, who wait for each other.

use std::time::Instant;

use futures_util::future::try_join_all;
use nself::{
    migrate::{Migrator, Options, Owner},
    postgres::scratch::{Scratch, TestDatabase},
};
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::{
    Result,
    report::{Pairs, Report, Spread},
};

const WRITERS: usize = 16;
const ROUNDS: usize = 12;
/// Writes of one writer in a round.
const WRITES: u32 = 100;

const PLAIN: &str = "INSERT INTO write (family_id, what) VALUES ($1, 'x')";
const AUDITED: &str = "WITH w AS (INSERT INTO write (family_id, what) VALUES ($1, 'x'))
    SELECT nself.audit('note.made', 'note/1', '{\"n\": 1}', $1, 'somebody')";

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let database = Scratch::durable().database().await;
    let mut migrator = Migrator::new(database.client().await, Options::default());
    migrator.up(&[Owner::host()]).await?;
    let client = migrator.into_client();
    client
        .batch_execute(
            "CREATE TABLE write (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, family_id uuid, what text)",
        )
        .await?;
    let one = Writers::new(&database, 1, Family::Own).await?;
    rates(report, "1 writer", &one).await?;
    let many = Writers::new(&database, WRITERS, Family::Own).await?;
    rates(report, "16 writers in 16 families", &many).await?;
    let same = Writers::new(&database, WRITERS, Family::Same).await?;
    rates(report, "16 writers in one family", &same).await?;
    let begun = Instant::now();
    let row = client
        .query_one(
            "SELECT (SELECT count(*) FROM nself.verify_audit()), (SELECT count(*) FROM nself.audit_log)",
            &[],
        )
        .await?;
    let (broken, entries): (i64, i64) = (row.get(0), row.get(1));
    let taken = begun.elapsed();
    report.text(
        "audit: verification",
        format!(
            "{entries} entries in {} ms, {broken} broken",
            taken.as_millis()
        ),
        "0 broken",
    );
    Ok(())
}

/// Whether writers share a family.
#[derive(Debug, Clone, Copy)]
enum Family {
    Own,
    Same,
}

struct Writer {
    client: Client,
    plain: Statement,
    audited: Statement,
    family: Uuid,
}

struct Writers(Vec<Writer>);

impl Writers {
    async fn new(database: &TestDatabase, count: usize, family: Family) -> Result<Self> {
        let same = Uuid::now_v7();
        let mut writers = Vec::new();
        for _ in 0..count {
            let client = database.client().await;
            writers.push(Writer {
                plain: client.prepare(PLAIN).await?,
                audited: client.prepare(AUDITED).await?,
                client,
                family: match family {
                    Family::Own => Uuid::now_v7(),
                    Family::Same => same,
                },
            });
        }
        Ok(Self(writers))
    }

    /// Seconds for one write, all writers together.
    async fn write(&self, is_audited: bool) -> Result<f64> {
        let begun = Instant::now();
        try_join_all(self.0.iter().map(async |writer| {
            let statement = if is_audited {
                &writer.audited
            } else {
                &writer.plain
            };
            for _ in 0..WRITES {
                writer.client.query(statement, &[&writer.family]).await?;
            }
            Ok::<_, tokio_postgres::Error>(())
        }))
        .await?;
        let writes = f64::from(WRITES) * f64::from(u32::try_from(self.0.len())?);
        Ok(begun.elapsed().as_secs_f64() / writes)
    }
}

async fn rates(report: &mut Report, who: &str, writers: &Writers) -> Result<()> {
    let pairs = Pairs::measure(
        ROUNDS,
        async || writers.write(false).await,
        async || writers.write(true).await,
    )
    .await?;
    let a_second = |spread: Spread| 1.0 / spread.median;
    let name = format!(
        "audit: time of a write with an entry to one without, {who} ({:.0}/s and {:.0}/s)",
        a_second(pairs.plugin()),
        a_second(pairs.native())
    );
    report.spread(&name, pairs.ratio(), "x", "");
    Ok(())
}

//! The limit: the engine's shape as hand-written SQL, driven by pgbench. No host, no kinds, no limits, no families.

use std::time::Instant;

use nself::postgres::scratch::{Scratch, TestDatabase};

use super::usage::{Sample, Watch, postmaster};
use crate::{Result, pgbench};

const BATCH: u32 = 1_000;
const CLIENTS: u32 = 2;

const TABLES: &str = "\
create table ready (id bigint generated always as identity, kind text not null, payload jsonb not null) \
    with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
create unique index ready_id on ready (id);
create table lease (id bigint primary key, claimed_at timestamptz not null default now(), ids bigint[] not null, \
    kinds text[] not null, payloads jsonb[] not null);
create table done (id bigint not null, kind text not null, claimed_at timestamptz not null, \
    finished_at timestamptz not null default now(), payload jsonb not null);
create index done_id on done (id);";

/// A claim whose commit does not wait for the disk, and a completion that does.
const SCRIPT: &str = "\
\\set lease random(1, 9000000000000000000)
begin;
set local synchronous_commit = off;
select pg_advisory_xact_lock(1);
with taken as (delete from ready where ctid = any (array(select ctid from ready where id > :low::bigint order by id limit 1000)) returning *)
insert into lease (id, ids, kinds, payloads) select :lease::bigint, array_agg(id), array_agg(kind), array_agg(payload) from taken \
returning (select max(i) from unnest(ids) i) as low \\gset
commit;
with gone as (delete from lease where id = :lease::bigint returning *)
insert into done (id, kind, claimed_at, payload) \
select j.id, j.kind, g.claimed_at, j.payload from gone g, unnest(g.ids, g.kinds, g.payloads) as j (id, kind, payload);
";

/// The tables in a database of their own.
pub(super) struct Limit {
    database: TestDatabase,
    directory: tempfile::TempDir,
}

impl Limit {
    pub(super) async fn new() -> Result<Self> {
        let database = Scratch::durable().database().await;
        database.client().await.batch_execute(TABLES).await?;
        let directory = tempfile::tempdir()?;
        std::fs::write(directory.path().join("drain.sql"), SCRIPT)?;
        Ok(Self {
            database,
            directory,
        })
    }

    /// Drains so many jobs, in whole batches.
    pub(super) async fn drain(&self, jobs: u32) -> Result<Sample> {
        let sql = self.database.client().await;
        let each = jobs / BATCH / CLIENTS;
        let jobs = each * BATCH * CLIENTS;
        sql.execute("insert into ready (kind, payload) select 'nothing', jsonb_build_object('n', g) from generate_series(1, $1::int) g", &[&i32::try_from(jobs)?]).await?;
        sql.batch_execute("vacuum analyze ready").await?;
        let watch = Watch {
            store: postmaster(),
            worker: None,
            sql: Some(&sql),
        };
        let mark = watch.mark().await?;
        let begun = Instant::now();
        let script = self.directory.path().join("drain.sql");
        pgbench::run(&self.database, &script, CLIENTS, each, &["--define=low=0"]).await?;
        let seconds = begun.elapsed().as_secs_f64();
        watch.since(&mark, jobs, Some(seconds)).await
    }
}

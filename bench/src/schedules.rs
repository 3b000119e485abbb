//! The scheduler with 100,000 schedules, of which 1,000 are due in one second: whether all are fired, and how late.

use nself::{identity::key_digest, postgres::scratch::Scratch};
use serde_json::json;
use tokio::{
    net::TcpStream,
    time::{Duration, sleep},
};
use tokio_postgres::Client;

use crate::{
    Failure, Result,
    child::{Cores, Log, Served},
    client::Http,
    project::Project,
    report::{Report, at_most, quantile},
};

/// The key that may make schedules.
const KEY: &str = "nsk_bench_makes_schedules";

const RESTING: i32 = if cfg!(debug_assertions) {
    10_000
} else {
    100_000
};
const DUE: i32 = 1_000;
const ROUNDS: u32 = 5;

/// How long before their second those that are due are written.
const AHEAD: &str = "3 seconds";

pub(crate) async fn measure(
    report: &mut Report,
    resting: Option<u32>,
    rounds: Option<u32>,
) -> Result<()> {
    let resting = resting.map_or(Ok(RESTING), i32::try_from)?;
    let database = Scratch::durable().database().await;
    let key = key_digest(KEY);
    let project = Project::with(&format!(
        "[identity.api_keys.bench]\nsha256 = \"{key}\"\nscopes = [\"schedules\"]\n"
    ))?;
    for plugin in ["jobs", "scheduler"] {
        project.put_file(plugin)?;
    }
    project.put(0, 0)?;
    let plugins = ["jobs", "scheduler", "bench00"];
    let url = database.url();
    let served = Served::start_on(Cores::All, project.path(), &url, Log::Off, &plugins).await?;
    let sql = database.client().await;
    let mut http = Http::over(TcpStream::connect(served.gateway).await?);
    make_one(&mut http).await?;
    copies(&sql, "resting", resting, "1 year").await?;
    sql.batch_execute("analyze scheduler.schedules").await?;

    let (mut fired, mut begun) = (Vec::new(), Vec::new());
    let rounds = at_most(rounds.unwrap_or(ROUNDS));
    for round in 0..rounds {
        let name = format!("due-{round}");
        copies(&sql, &name, DUE, AHEAD).await?;
        fired.extend(lateness(&sql, &name).await?);
        begun.extend(starts(&sql, &name).await?);
    }
    for (what, late, goal) in [
        ("lateness of a fire", &mut fired, "p99 < 250 ms"),
        ("from the time to the start of the job", &mut begun, ""),
    ] {
        late.sort_by(f64::total_cmp);
        let name = format!("schedules: {what}, {DUE} in one second of {resting}");
        let value = format!(
            "p50 {:.1}, p99 {:.1}, most {:.1} ms ({} of {} fired)",
            quantile(late, 50),
            quantile(late, 99),
            quantile(late, 100),
            late.len(),
            rounds * DUE.unsigned_abs()
        );
        report.text(&name, value, goal);
    }
    Ok(())
}

/// A schedule as its API makes it.
async fn make_one(http: &mut Http<TcpStream>) -> Result<()> {
    let body = json!({
        "name": "first", "spec": "@every 24h", "target": {"job": {"kind": "bench00.nothing"}},
    })
    .to_string();
    let request = format!(
        "POST /v1/schedules HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (answer, body) = http.send_for_body(request.as_bytes()).await?;
    match answer.status {
        201 => Ok(()),
        status => Err(Failure::from(format!(
            "{status}: {}",
            String::from_utf8_lossy(&body)
        ))),
    }
}

/// More like it, all of them due at one full second after a while.
async fn copies(sql: &Client, name: &str, amount: i32, after: &str) -> Result<()> {
    let copy = "insert into scheduler.schedules (name, owner, spec, target, action, created_at, next_at, due_at, zones_version) \
         select $1 || '-' || g, s.owner, s.spec, s.target, s.action, t.at - interval '1 day', t.at, t.at, s.zones_version \
         from scheduler.schedules s, generate_series(1, $2::int) g, \
             (select date_trunc('second', clock_timestamp()) + $3::text::interval as at) t \
         where s.name = 'first'";
    sql.execute(copy, &[&name, &amount, &after]).await?;
    sql.batch_execute("select pg_notify('nself_scheduler', '')")
        .await?;
    Ok(())
}

/// Waits until the schedules of a round have fired; how late each was, in milliseconds.
async fn lateness(sql: &Client, name: &str) -> Result<Vec<f64>> {
    let late = "select f.late_ms::float8 from scheduler.fires f join scheduler.schedules s on s.id = f.schedule_id \
                where s.name like $1 || '-%' and f.outcome = 'fired'";
    until(sql, late, name).await
}

/// The same for the first attempts of their jobs.
async fn starts(sql: &Client, name: &str) -> Result<Vec<f64>> {
    let begun = "select (extract(epoch from j.claimed_at - f.nominal_at) * 1000)::float8 \
                 from scheduler.fires f join scheduler.schedules s on s.id = f.schedule_id join jobs.finished j on j.id = f.job_id \
                 where s.name like $1 || '-%' and j.state = 'completed'";
    until(sql, begun, name).await
}

async fn until(sql: &Client, query: &str, name: &str) -> Result<Vec<f64>> {
    let due = usize::try_from(DUE)?;
    let mut found = Vec::new();
    for _ in 0..300 {
        let rows = sql.query(query, &[&name]).await?;
        found = rows.iter().map(|row| row.get(0)).collect();
        if found.len() == due {
            return Ok(found);
        }
        sleep(Duration::from_millis(200)).await;
    }
    Err(Failure::from(format!(
        "{} of {due} schedules fired",
        found.len()
    )))
}

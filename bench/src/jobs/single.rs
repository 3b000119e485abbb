//! What is measured once: starts, an old transaction, limits, families, large backlogs, an idle host.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_postgres::Client;

use super::{
    IS_FAST,
    callers::{Sent, one_by_one, wall_micros},
    ours::{Ours, enqueue_request},
    peer::millis,
    peers::{ADD_JOB, Peers},
    usage::Sample,
};
use crate::{
    Failure, Result, cpu,
    report::{Report, quantile},
};

/// How often something small is tried.
const SAMPLES: u32 = if IS_FAST { 100 } else { 5 };

/// A transaction that keeps whatever is deleted after it.
const HOLD: &str = "begin isolation level repeatable read; select txid_current()";

/// A table for commits of one row.
const RESTED: &str = "create table if not exists rested (at timestamptz)";
const COMMIT: &str = "insert into rested values (now())";

/// Two families.
const LARGE: &str = "018f0000-0000-7000-8000-00000000000a";
const SMALL: &str = "018f0000-0000-7000-8000-00000000000b";

/// An idle host: what it asks the database.
pub(super) async fn idle(report: &mut Report, ours: &Ours) -> Result<()> {
    let span = Duration::from_secs(10);
    // Sessions tell their counters when they fall idle, or ten seconds after: what the start has cost is told by then.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let sql = "select xact_commit::float8 from pg_stat_database where datname = current_database()";
    let watch = ours.watch()?;
    let (mark, before): (_, f64) = (
        watch.mark().await?,
        ours.sql.query_one(sql, &[]).await?.get(0),
    );
    tokio::time::sleep(span).await;
    let after: f64 = ours.sql.query_one(sql, &[]).await?.get(0);
    let used = watch.since(&mark, 1, None).await?;
    // Our own looks are two of them.
    let rate = (after - before - 2.0).max(0.0) / span.as_secs_f64();
    report.text(
        "jobs: idle host, transactions/s",
        format!("{rate:.1}"),
        "<= 1",
    );
    let value = format!(
        "{:.1} + {:.1} ms in 10 s",
        used.server * 1e3,
        used.worker * 1e3
    );
    report.text("jobs: idle host, CPU of server and host", value, "");
    Ok(())
}

/// From a call that enqueues to the start, on an idle queue.
pub(super) async fn starts(report: &mut Report, ours: &Ours, peers: &mut Peers) -> Result<()> {
    ours.resume().await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let by_sql = our_starts(ours, by_sql(&ours.sql).await?).await?;
    let mut http = ours.connect().await?;
    let over_http = our_starts(ours, async |payload| {
        let request = enqueue_request("bench00.timed", &payload);
        let (answer, _) = http.send_for_body(&request).await?;
        match answer.status {
            201 => Ok(()),
            status => Err(Failure::from(format!("{status} for a job"))),
        }
    })
    .await?;
    ours.pause().await?;
    let graphile = of_graphile(peers).await?;
    let boss = of_itself(&mut peers.boss.peer).await?;
    let bull = of_itself(&mut peers.bull.peer).await?;

    for (name, millis) in [
        ("ours, by SQL", &by_sql.from_call),
        ("ours, over HTTP", &over_http.from_call),
        ("graphile-worker", &graphile),
        ("pg-boss", &boss),
        ("BullMQ", &bull),
    ] {
        let value = format!("p50 {:.2}, p99 {:.2} ms", at(millis, 50)?, at(millis, 99)?);
        report.text(&format!("jobs: enqueue to start, idle, {name}"), value, "");
    }
    let ratio = at(&by_sql.from_call, 50)? / at(&graphile, 50)?;
    report.text(
        "jobs: enqueue to start, idle, by SQL, p50 of graphile-worker's",
        format!("{ratio:.2} x"),
        "<= 0.5",
    );
    for (name, millis) in [
        ("a commit of one row", &least(ours, COMMIT).await?),
        ("a question", &least(ours, "select 1").await?),
    ] {
        let value = format!("p50 {:.2}, p99 {:.2} ms", at(millis, 50)?, at(millis, 99)?);
        report.text(&format!("jobs: idle, {name} by itself"), value, "");
    }
    for (name, millis, goal) in [
        ("by SQL", &by_sql.from_answer, ""),
        (
            "direct hand-off over HTTP",
            &over_http.from_answer,
            "<= 0.2 ms",
        ),
    ] {
        let value = format!("p50 {:.2}, p99 {:.2} ms", at(millis, 50)?, at(millis, 99)?);
        let name = format!("jobs: start after the caller knows of the commit, {name}");
        report.text(&name, value, goal);
    }
    Ok(())
}

async fn by_sql(sql: &Client) -> Result<impl AsyncFnMut(Value) -> Result<()>> {
    let enqueue = "select jobs.enqueue('bench00.timed', $1)";
    let statement = sql.prepare(enqueue).await?;
    Ok(async move |payload: Value| {
        sql.query_one(&statement, &[&payload]).await?;
        Ok(())
    })
}

/// Milliseconds of a statement by itself, on a cluster that rests between two of them: who starts a job has to commit, and whoever
/// is told of it has to ask.
async fn least(ours: &Ours, statement: &str) -> Result<Vec<f64>> {
    ours.sql.batch_execute(RESTED).await?;
    let statement = ours.sql.prepare(statement).await?;
    let Sent(sent) = one_by_one(SAMPLES, async |_| {
        ours.sql.execute(&statement, &[]).await?;
        Ok(())
    })
    .await?;
    Ok(sent
        .iter()
        .map(|(begun, ended)| micros(ended - begun) / 1e3)
        .collect())
}

/// Milliseconds.
struct Starts {
    from_call: Vec<f64>,
    from_answer: Vec<f64>,
}

async fn our_starts(ours: &Ours, enqueue: impl AsyncFnMut(Value) -> Result<()>) -> Result<Starts> {
    ours.expect(SAMPLES).await?;
    let Sent(sent) = one_by_one(SAMPLES, enqueue).await?;
    ours.ended().await?;
    let started = started(&ours.ledger().await?);
    let since = |sent: fn(&(i64, i64)) -> i64, times: &[(i64, i64)]| {
        let starts = started.iter().filter_map(|(number, at)| {
            let sent = times.get(usize::try_from(*number).ok()?).map(sent)?;
            Some(micros(at - sent) / 1e3)
        });
        starts.collect::<Vec<_>>()
    };
    Ok(Starts {
        from_call: since(|sent| sent.0, &sent),
        from_answer: since(|sent| sent.1, &sent),
    })
}

/// Numbers of timed jobs, and when they began.
fn started(ledger: &Value) -> Vec<(u64, i64)> {
    let starts = ledger["starts"].as_array().into_iter().flatten();
    starts
        .filter_map(|start| Some((start[0].as_u64()?, start[1].as_i64()?)))
        .collect()
}

fn micros(span: i64) -> f64 {
    i32::try_from(span).map_or(f64::INFINITY, f64::from)
}

async fn of_graphile(peers: &mut Peers) -> Result<Vec<f64>> {
    let graphile = &mut peers.graphile;
    graphile.peer.ask("work", json!({})).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let sql = &graphile.sql;
    let statement = sql.prepare(ADD_JOB).await?;
    one_by_one(SAMPLES, async |payload| {
        sql.query_one(&statement, &[&payload]).await?;
        Ok(())
    })
    .await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let told = graphile.peer.ask("latencies", json!({})).await?;
    graphile.peer.ask("rest", json!({})).await?;
    Ok(millis(&told))
}

/// Of a peer that enqueues in its own process.
async fn of_itself(peer: &mut super::peer::Peer) -> Result<Vec<f64>> {
    peer.ask("work", json!({})).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let told = peer.ask("oneByOne", json!({"samples": SAMPLES})).await?;
    peer.ask("rest", json!({})).await?;
    Ok(millis(&told))
}

fn at(values: &[f64], percent: usize) -> Result<f64> {
    if values.is_empty() {
        return Err(Failure::from("no job was seen to begin"));
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    Ok(quantile(&sorted, percent))
}

/// CPU for a job behind 40,000 dead ones that an open transaction keeps, of that before.
pub(super) async fn old_transaction(
    report: &mut Report,
    ours: &Ours,
    peers: &mut Peers,
    jobs: u32,
) -> Result<()> {
    let before = ours
        .fill_and_drain("bench00.nothing", jobs, &json!({}))
        .await?
        .1;
    let open = ours.database.client().await;
    open.batch_execute(HOLD).await?;
    ours.fill_and_drain("bench00.nothing", 2 * jobs, &json!({}))
        .await?;
    let held = ours
        .fill_and_drain("bench00.nothing", jobs, &json!({}))
        .await?
        .1;
    open.batch_execute("rollback").await?;
    tell_held(report, "ours", before, held, "<= 1.1");

    let graphile = &mut peers.graphile;
    graphile.fill(jobs).await?;
    let before = graphile.drain(jobs).await?;
    let open = graphile.database.client().await;
    open.batch_execute(HOLD).await?;
    graphile.fill(2 * jobs).await?;
    graphile.drain(2 * jobs).await?;
    graphile.fill(jobs).await?;
    let held = graphile.drain(jobs).await?;
    open.batch_execute("rollback").await?;
    tell_held(report, "graphile-worker", before, held, "");
    Ok(())
}

fn tell_held(report: &mut Report, who: &str, before: Sample, held: Sample, goal: &'static str) {
    let value = format!(
        "{:.2} x ({:.1} of {:.1} us), rate {:.2} x",
        held.cpu_micros() / before.cpu_micros(),
        held.cpu_micros(),
        before.cpu_micros(),
        held.rate() / before.rate()
    );
    let name = format!("jobs: CPU for a job with an old transaction, of that without, {who}");
    report.text(&name, value, goal);
}

/// One at a time for each of 10,000 keys.
pub(super) async fn limits(report: &mut Report, ours: &Ours, jobs: u32) -> Result<()> {
    let keys = jobs / 2;
    let mut rates = Vec::new();
    for is_limited in [false, true] {
        set_limit(ours, is_limited.then_some(1)).await?;
        ours.pause().await?;
        fill_keyed(ours, "bench00.limited", jobs, keys).await?;
        rates.push(ours.drain(jobs).await?);
    }
    let value = format!(
        "{:.2} x ({:.0}/s with {:.1} us, {:.0}/s without)",
        rates[1].rate() / rates[0].rate(),
        rates[1].rate(),
        rates[1].cpu_micros(),
        rates[0].rate()
    );
    let name = format!("jobs: one at a time of {keys} keys, of the unlimited speed");
    report.text(&name, value, ">= 0.8");

    // With few keys and jobs that take a moment, so that many want to run beside each other.
    let few = jobs / 10;
    fill_keyed(ours, "bench00.keyed", few, few / 20).await?;
    ours.drain(few).await?;
    let most = ours.ledger().await?["most_of_a_key"].clone();
    set_limit(ours, None).await?;
    let name = "jobs: most of one key at a time, by the handlers' ledger";
    report.text(name, most.to_string(), "1");
    Ok(())
}

async fn set_limit(ours: &Ours, limit: Option<i32>) -> Result<()> {
    let sql = "update jobs.queues set running_per_key_max = $1 where name = 'limited'";
    ours.sql.execute(sql, &[&limit]).await?;
    Ok(())
}

async fn fill_keyed(ours: &Ours, kind: &str, jobs: u32, keys: u32) -> Result<()> {
    let sql = "select count(*) from jobs.enqueue_many((select jsonb_agg(jsonb_build_object(\
             'kind', $1::text, 'payload', jsonb_build_object('key', g % $3::int), \
             'options', jsonb_build_object('concurrency_key', (g % $3::int)::text))) from generate_series(1, $2::int) g))";
    let (jobs, keys) = (i32::try_from(jobs)?, i32::try_from(keys)?);
    ours.sql.query_one(sql, &[&kind, &jobs, &keys]).await?;
    Ok(())
}

/// A family with one job beside a family with very many.
pub(super) async fn family(report: &mut Report, ours: &Ours, backlog: u32) -> Result<()> {
    ours.pause().await?;
    ours.fill("bench00.nothing", backlog, &json!({"family_id": LARGE}))
        .await?;
    let tries = if IS_FAST { 10 } else { 2 };
    ours.expect(backlog + tries).await?;
    ours.resume().await?;
    let enqueue = "select jobs.enqueue('bench00.timed', $1, $2)";
    let of_small = json!({"family_id": SMALL});
    let statement = ours.sql.prepare(enqueue).await?;
    let mut sent = Vec::new();
    for number in 0..tries {
        tokio::time::sleep(Duration::from_millis(40)).await;
        sent.push(wall_micros()?);
        ours.sql
            .query_one(&statement, &[&json!({"n": number}), &of_small])
            .await?;
    }
    let left: i64 = ours
        .sql
        .query_one("select count(*) from jobs.ready", &[])
        .await?
        .get(0);
    ours.ended().await?;
    ours.pause().await?;
    let mut millis: Vec<f64> = started(&ours.ledger().await?)
        .iter()
        .filter_map(|(number, at)| {
            Some(micros(at - sent.get(usize::try_from(*number).ok()?)?) / 1e3)
        })
        .collect();
    millis.sort_by(f64::total_cmp);
    let value = format!(
        "p50 {:.1}, most {:.1} ms ({left} of the other's were left)",
        at(&millis, 50)?,
        at(&millis, 100)?
    );
    let name = format!("jobs: enqueue to start of one family's job beside {backlog} of another's");
    report.text(&name, value, "<= 50 ms");
    Ok(())
}

/// A large backlog, ready and delayed, beside a small one.
pub(super) async fn backlog(
    report: &mut Report,
    ours: &Ours,
    jobs: u32,
    backlog: u32,
) -> Result<()> {
    let nothing = json!({});
    let small = ours
        .fill_and_drain("bench00.nothing", jobs, &nothing)
        .await?;
    let delay = "insert into jobs.later (queue, kind, payload, priority, run_at) \
                 select 1, 'bench00.nothing', '{}', 0, now() + interval '1 day' from generate_series(1, $1::int)";
    ours.sql.execute(delay, &[&i32::try_from(backlog)?]).await?;
    let large = ours
        .fill_and_drain("bench00.nothing", backlog, &nothing)
        .await?;
    ours.sql.batch_execute("truncate jobs.later").await?;
    for (what, small, large) in [
        ("drain", small.1, large.1),
        ("enqueue in batches", small.0, large.0),
    ] {
        let value = format!(
            "{:.2} x ({:.0} and {:.0}/s, {:.1} and {:.1} us)",
            large.rate() / small.rate(),
            large.rate(),
            small.rate(),
            large.cpu_micros(),
            small.cpu_micros()
        );
        let name =
            format!("jobs: {what} at {backlog} ready and as many delayed, of that at {jobs}");
        report.text(&name, value, ">= 0.9");
    }
    Ok(())
}

/// Resident memory of the workers after all of it.
pub(super) fn memory(report: &mut Report, ours: &Ours, peers: &Peers) -> Result<()> {
    for (name, kib) in [
        ("the host with the plugin", ours.resident_kib()?),
        (
            "graphile-worker",
            cpu::resident_kib(peers.graphile.peer.pid()?)?,
        ),
        ("pg-boss", cpu::resident_kib(peers.boss.peer.pid()?)?),
        ("BullMQ", cpu::resident_kib(peers.bull.peer.pid()?)?),
    ] {
        let value = format!("{:.0} MiB", f64::from(u32::try_from(kib)?) / 1_024.0);
        report.text(
            &format!("jobs: resident memory after load, {name}"),
            value,
            "",
        );
    }
    Ok(())
}

//! The stage of these tests: hosts whose handlers write a ledger, and what it says.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use nself_plugin_testkit::{HostProcess, TestHost, TestHostBuilder, eventually};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::stage::{count, until_count};

/// A host with the plugin, and one that writes down what its jobs do.
pub(super) fn builder() -> TestHostBuilder {
    TestHost::builder()
        .plugin("nself-plugin-jobs")
        .plugin("nself-plugin-fixture-ledger")
}

/// A host that works no jobs itself: it has the database and is beside those that do.
pub(super) async fn bystander() -> TestHost {
    let host = builder().start().await;
    let disabled = host.registry().disable("jobs", LIMIT, false).await;
    disabled.unwrap_or_else(|refusal| panic!("{refusal}"));
    host
}

const LIMIT: Duration = Duration::from_secs(10);

/// One attempt.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) job: i64,
    pub(super) attempt: i32,
    pub(super) process: u32,
    pub(super) key: String,
    pub(super) started: SystemTime,
    pub(super) ended: Option<SystemTime>,
}

/// Enqueues so many jobs in one transaction; their ids.
pub(super) async fn enqueue(
    sql: &Client,
    amount: i64,
    payload: &Value,
    options: &Value,
) -> Vec<i64> {
    enqueue_kind(sql, "ledger.work", amount, payload, options).await
}

pub(super) async fn enqueue_kind(
    sql: &Client,
    kind: &str,
    amount: i64,
    payload: &Value,
    options: &Value,
) -> Vec<i64> {
    let rows = sql
        .query(
            "select jobs.enqueue_many($1, array_fill($2::jsonb, array[$3::bigint::integer]), $4)",
            &[&kind, payload, &amount, options],
        )
        .await
        .expect("they are enqueued");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Enqueues one job for each of so many keys, as often as `times`.
pub(super) async fn enqueue_keys(sql: &Client, keys: i32, times: i32, ms: u64) -> Vec<i64> {
    let mut ids = Vec::new();
    for _ in 0..times {
        for key in 0..keys {
            let key = format!("key {key}");
            let payload = json!({"key": key, "ms": ms});
            ids.extend(enqueue(sql, 1, &payload, &json!({"concurrency_key": key})).await);
        }
    }
    ids
}

/// All attempts, in the order of their beginnings.
pub(super) async fn runs(sql: &Client) -> Vec<Run> {
    let rows = sql
        .query(
            "select job_id, attempt, process, key, started_at, ended_at from ledger.runs order by started_at, number",
            &[],
        )
        .await
        .expect("the ledger can be read");
    let run = |row: &tokio_postgres::Row| Run {
        job: row.get(0),
        attempt: row.get(1),
        process: row.get::<_, i32>(2).try_into().expect("a process"),
        key: row.get(3),
        started: row.get(4),
        ended: row.get(5),
    };
    rows.iter().map(run).collect()
}

/// The attempts of each job.
pub(super) fn by_job(runs: &[Run]) -> HashMap<i64, Vec<&Run>> {
    let mut jobs: HashMap<i64, Vec<&Run>> = HashMap::new();
    for run in runs {
        jobs.entry(run.job).or_default().push(run);
    }
    jobs
}

/// Waits until so many jobs were completed, and nothing else is left of them. It may take as long as there is progress.
pub(super) async fn until_completed(sql: &Client, amount: usize) {
    let completed = "select count(*) from jobs.finished where state = 'completed'";
    let amount = i64::try_from(amount).expect("few jobs");
    let mut before = -1;
    loop {
        let now = count(sql, completed).await;
        if now >= amount {
            break;
        }
        assert_ne!(
            now, before,
            "of {amount} jobs no more than {now} are completed"
        );
        before = now;
        // Either it goes on, or all are done.
        eventually("jobs are completed", async || {
            (count(sql, completed).await > before).then_some(())
        })
        .await;
    }
    until_count(
        sql,
        "select count(*) from jobs.jobs where state <> 'completed'",
        0,
    )
    .await;
    assert_eq!(
        count(sql, completed).await,
        amount,
        "each is completed once"
    );
}

/// Waits until a process has begun so many attempts.
pub(super) async fn until_begun(sql: &Client, process: u32, amount: i64) {
    let begun = format!("select count(*) from ledger.runs where process = {process}");
    eventually(&format!("{amount} jobs have begun"), async || {
        (count(sql, &begun).await >= amount).then_some(())
    })
    .await;
}

/// The jobs of a host process that it holds now.
pub(super) async fn held_by(sql: &Client, host: &HostProcess) -> i64 {
    let held = format!(
        "select coalesce(sum(cardinality(l.ids) - cardinality(l.done)), 0)::bigint from jobs.leases l join jobs.hosts h on h.id = l.host \
         where h.name like '% process {}'",
        host.pid()
    );
    count(sql, &held).await
}

/// Checks that each of those jobs was done, and by one attempt only.
#[track_caller]
pub(super) fn assert_each_done_once(runs: &[Run], ids: &[i64]) {
    let jobs = by_job(runs);
    for id in ids {
        let done = jobs.get(id).map_or(0, |runs| done(runs));
        assert_eq!(
            done,
            1,
            "job {id} was done {done} times: {:?}",
            jobs.get(id)
        );
    }
    assert_eq!(jobs.len(), ids.len(), "no other job ran");
}

pub(super) fn done(runs: &[&Run]) -> usize {
    runs.iter().filter(|run| run.ended.is_some()).count()
}

/// Most attempts that were under way at once, for each key. What `process` did after `stopped` is not counted: it had been
/// taken from it.
pub(super) fn most_at_once(
    runs: &[Run],
    key: impl Fn(&Run) -> String,
    stopped: Option<(u32, SystemTime)>,
) -> HashMap<String, i32> {
    let mut moments: Vec<(SystemTime, i32, String)> = Vec::new();
    for run in runs {
        let cut = stopped.filter(|(process, _)| *process == run.process);
        let end = match (run.ended, cut) {
            (Some(ended), None) => ended,
            (Some(ended), Some((_, stopped))) => ended.min(stopped),
            (None, Some((_, stopped))) => stopped,
            (None, None) => panic!("{run:?} never ended"),
        };
        if end >= run.started {
            moments.push((run.started, 1, key(run)));
            moments.push((end, -1, key(run)));
        }
    }
    // An end before a beginning at the same moment.
    moments.sort();
    let (mut now, mut most) = (HashMap::<String, i32>::new(), HashMap::<String, i32>::new());
    for (_, change, key) in moments {
        let running = now.entry(key.clone()).or_default();
        *running += change;
        let most = most.entry(key).or_default();
        *most = (*most).max(*running);
    }
    most
}

/// A number below `limit` that is another one each time.
pub(super) fn any_below(limit: i64) -> i64 {
    let random = uuid::Uuid::now_v7().as_u128() & 0xffff_ffff;
    i64::try_from(random).unwrap_or_default() % limit
}

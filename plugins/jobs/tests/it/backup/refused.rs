//! A dump for which there are no programs, no room, or not enough time: the job says so, nothing half stays, and it works again
//! when there are.

use std::{sync::Arc, time::Duration};

use nself_plugin_testkit::{HostProcess, LIMIT, TestClock, TestHost, eventually};
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::{HALF, Programs, backup, config, files, folder, until_half, with};
use crate::stage::{builder, enqueue, job, submit, until};

#[tokio::test]
async fn a_host_without_the_programs_says_so_and_dumps_when_they_are_there() {
    let (archives, programs) = (folder(), Programs::real());
    programs.remove("pg_dump");
    // A program of its own: it has no PATH on which the machine's could be found.
    let host = with(&programs, archives.path()).program().start().await;
    let id = enqueue(&host, "jobs.db_backup", json!({}), json!({})).await;
    until_error(&host, id, 1).await;

    programs.pg_dump("exec \"$REAL_PG_DUMP\" \"$@\"");
    programs.remove("pg_restore");
    retry(&host, id).await;
    until_error(&host, id, 2).await;
    // It did not begin, and left nothing.
    let left = std::fs::read_dir(archives.path()).expect("the folder is there");
    assert_eq!(left.count(), 0);

    programs.pg_restore();
    retry(&host, id).await;
    let done = until(&host, id, "completed").await;
    assert_eq!(files(archives.path()), [text(&done["result"]["file"])]);
    host.stop().await;
}

/// Waits until so many attempts have found no programs, and are to be made again in about a minute.
async fn until_error(host: &TestHost, id: i64, errors: usize) {
    let failed = eventually("an attempt has failed", async || {
        let job = job(host, id).await;
        let so_far = job["meta"]["errors"].as_array().map_or(0, Vec::len);
        (so_far == errors).then_some(job)
    })
    .await;
    for error in failed["meta"]["errors"].as_array().expect("errors") {
        assert_eq!(error["code"], "DUMP_UNAVAILABLE");
    }
}

async fn retry(host: &TestHost, id: i64) {
    let retry = host.post(&format!("/v1/jobs/{id}/retry")).operator();
    assert_eq!(retry.send().await.status, 200);
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// An archive that fits anywhere: it is of no schema.
fn small() -> Value {
    json!({"keep": 1, "without_schemas": ["*"]})
}

#[tokio::test]
async fn a_disk_that_is_full_costs_no_older_archive_and_leaves_no_half_one() {
    let (archives, programs) = (folder(), Programs::real());
    let host = builder().start().await;
    let disabled = host.registry().disable("jobs", LIMIT / 4, true);
    disabled.await.unwrap_or_else(|refusal| panic!("{refusal}"));
    let sql = host.sql().await;
    let process = host
        .process_beside()
        .config(&config(&programs, archives.path()))
        .small_disk(archives.path(), 64 * 1_024)
        .start()
        .await;
    let archives = process
        .root()
        .join(archives.path().strip_prefix("/").expect("an absolute path"));
    let first = ended(&sql, &process, small()).await;
    let file = text(&first["result"]["file"]);
    let full = ended(&sql, &process, json!({"keep": 1})).await;
    assert_eq!(
        (&full["state"], &full["error"]["code"]),
        (&json!("discarded"), &json!("DUMP_FAILED"))
    );
    let log = process.log_text();
    assert!(log.contains("No space left on device"), "{log}");
    assert_eq!(files(&archives), [file]);
    let again = ended(&sql, &process, small()).await;
    assert_eq!(files(&archives), [text(&again["result"]["file"])]);
    drop(process);
    host.stop().await;
}

/// Waits until a dump that is tried once has ended; what came of it.
async fn ended(sql: &Client, process: &HostProcess, payload: Value) -> Value {
    let id = submit(sql, "jobs.db_backup", payload, json!({"attempts_max": 1})).await;
    let find = format!(
        "select to_jsonb(j) from jobs.jobs j where j.id = {id} and j.state in ('completed', 'discarded')"
    );
    let what = format!("the dump {id} ends, by {}", process.address());
    eventually(&what, async || {
        let rows = sql.query(&find, &[]).await.expect("jobs are found");
        rows.first().map(|row| row.get(0))
    })
    .await
}

#[tokio::test]
async fn a_dump_that_takes_more_than_a_day_is_given_up_and_leaves_nothing() {
    let (archives, programs) = (folder(), Programs::real());
    programs.pg_dump(HALF);
    let clock = Arc::new(TestClock::new(1_900_000_000_000_000));
    let host = with(&programs, archives.path())
        .clock(Arc::clone(&clock))
        .start()
        .await;
    let options = json!({"timeout": "3 days", "attempts_max": 1});
    let id = enqueue(&host, "jobs.db_backup", json!({}), options).await;
    until_half(archives.path()).await;
    clock.advance(Duration::from_secs(24 * 3_600 - 1));
    assert_eq!(job(&host, id).await["state"], "running");
    clock.advance(Duration::from_secs(1));
    let late = until(&host, id, "discarded").await;
    assert_eq!(late["error"]["code"], "DUMP_FAILED");
    eventually("the half archive is gone", async || {
        files(archives.path()).is_empty().then_some(())
    })
    .await;
    // The next one finds the folder free.
    programs.pg_dump("exec \"$REAL_PG_DUMP\" \"$@\"");
    let made = backup(&host, json!({})).await;
    assert_eq!(files(archives.path()), [text(&made["file"])]);
    host.stop().await;
}

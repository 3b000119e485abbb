//! Archives of the database: whole and restorable, or not there.

mod base;
mod bucket;
mod programs;
mod refused;
mod reserved;
mod restoring;
mod secrets;

use std::path::Path;

use nself_plugin_testkit::{TestHost, TestHostBuilder, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::programs::{HALF, Programs, REAL, files, is_half};
use crate::stage::{builder, count, enqueue, job, until};

/// A host whose programs and archives are the test's.
fn with(programs: &Programs, archives: &Path) -> TestHostBuilder {
    builder().config(&config(programs, archives))
}

fn config(programs: &Programs, archives: &Path) -> String {
    let (bin, archives) = (programs.directory().display(), archives.display());
    format!("[database]\nbin_directory = \"{bin}\"\nbackup_directory = \"{archives}\"")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("there is room for archives")
}

async fn backup(host: &TestHost, payload: Value) -> Value {
    let id = enqueue(host, "jobs.db_backup", payload, json!({})).await;
    until(host, id, "completed").await["result"].clone()
}

#[tokio::test]
async fn older_archives_go_when_there_is_a_new_one_and_only_those_of_its_name() {
    let (archives, programs) = (folder(), Programs::real());
    let host = with(&programs, archives.path()).start().await;
    let weekly = backup(&host, json!({"name": "weekly"})).await;
    let first = backup(&host, json!({"name": "nightly", "keep": 2})).await;
    let second = backup(&host, json!({"name": "nightly", "keep": 2})).await;
    assert_eq!(second["removed"], json!([]));
    let third = backup(&host, json!({"name": "nightly", "keep": 2})).await;
    assert_eq!(third["removed"], json!([first["file"]]));
    let mut left = [&weekly, &second, &third].map(|one| one["file"].as_str().expect("a name"));
    left.sort_unstable();
    assert_eq!(files(archives.path()), left);
    let noted = "select count(*) from nself.audit_log where action = 'jobs.database_dumped'";
    assert_eq!(count(&host.sql().await, noted).await, 4);
    host.stop().await;
}

#[tokio::test]
async fn what_cannot_be_an_archive_is_given_up() {
    let (archives, programs) = (folder(), Programs::real());
    let host = with(&programs, archives.path()).start().await;
    for payload in [
        json!({"keep": 0}),
        json!({"name": "../../etc/cron"}),
        json!({"without_rows": [""]}),
    ] {
        let id = enqueue(&host, "jobs.db_backup", payload.clone(), json!({})).await;
        let discarded = until(&host, id, "discarded").await;
        assert_eq!(discarded["error"]["code"], "JOB_DISCARD", "{payload}");
    }
    assert_eq!(files(archives.path()), Vec::<String>::new());
    host.stop().await;
}

#[tokio::test]
async fn an_archive_that_does_not_read_back_is_not_kept_and_costs_no_older_one() {
    let (archives, programs) = (folder(), Programs::real());
    let host = with(&programs, archives.path()).start().await;
    let good = backup(&host, json!({"keep": 1})).await;
    for script in [
        // It breaks off and says that all is well: the list of what is in it is whole.
        format!("{REAL} \"$@\" | head -c -200"),
        // It says that something is wrong.
        format!("{REAL} \"$@\"; exit 3"),
    ] {
        programs.pg_dump(&script);
        let options = json!({"attempts_max": 1});
        let id = enqueue(&host, "jobs.db_backup", json!({"keep": 1}), options).await;
        let failed = until(&host, id, "discarded").await;
        assert_eq!(failed["error"]["code"], "DUMP_FAILED", "{script}");
        assert_eq!(
            files(archives.path()),
            [good["file"].as_str().expect("a name")]
        );
    }
    host.stop().await;
}

#[tokio::test]
async fn a_cancelled_backup_leaves_nothing() {
    let (archives, programs) = (folder(), Programs::real());
    programs.pg_dump(HALF);
    let host = with(&programs, archives.path()).start().await;
    let id = enqueue(&host, "jobs.db_backup", json!({}), json!({})).await;
    until_half(archives.path()).await;
    let cancel = host.post(&format!("/v1/jobs/{id}/cancel")).operator();
    assert_eq!(cancel.send().await.status, 200);
    until(&host, id, "cancelled").await;
    eventually("the half archive is gone", async || {
        files(archives.path()).is_empty().then_some(())
    })
    .await;
    host.stop().await;
}

#[tokio::test]
async fn a_host_that_is_killed_leaves_no_half_archive_under_a_name_and_the_job_is_done_again() {
    let (archives, programs) = (folder(), Programs::real());
    programs.pg_dump(HALF);
    let mut host = with(&programs, archives.path()).program().start().await;
    let id = enqueue(&host, "jobs.db_backup", json!({}), json!({})).await;
    until_half(archives.path()).await;
    host.kill().await;
    let left = files(archives.path());
    assert!(left.iter().all(|file| is_half(file)), "{left:?}");
    assert_eq!(left.len(), 1);

    programs.pg_dump(&format!("exec {REAL} \"$@\""));
    host.start_again().await;
    let done = until(&host, id, "completed").await;
    assert_eq!(done["attempt"], 2);
    assert_eq!(
        files(archives.path()),
        [done["result"]["file"].as_str().expect("a name")]
    );
    assert_eq!(
        job(&host, id).await["meta"]["errors"][0]["code"],
        "HOST_DIED"
    );
    host.stop().await;
}

/// Waits until half an archive has been written.
async fn until_half(archives: &Path) {
    eventually("half an archive is written", async || {
        let files = files(archives);
        let half = files.iter().find(|file| is_half(file))?;
        let length = archives.join(half).metadata().ok()?.len();
        (length >= 4_000).then_some(())
    })
    .await;
}

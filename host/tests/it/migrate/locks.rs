//! Several at once: runners beside runners, readers beside a migration.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nself::migrate::{MigrateError, Migrator, Options, Owner, Progress};
use tokio::sync::Notify;

use super::{database, migrator, notes, recorded, step};

#[tokio::test(flavor = "multi_thread")]
async fn eight_runners_apply_each_step_once() {
    let database = database().await;
    // A step that is applied twice shows: the table is not there to be made again, and the row counts.
    let mut owner = notes(5);
    owner.steps[4].up.push_str("INSERT INTO t1 VALUES (1);");
    let runs = (0..8).map(async |_| {
        let mut migrator = migrator(&database).await;
        migrator
            .up(&[Owner::host(), owner.clone()])
            .await
            .unwrap()
            .steps
            .len()
    });
    let taken: usize = futures_util::future::join_all(runs).await.into_iter().sum();
    assert_eq!(taken, Owner::host().steps.len() + 5);
    let client = database.client().await;
    assert_eq!(recorded(&client, "notes").await, [1, 2, 3, 4, 5]);
    assert_eq!(
        client
            .query_one("SELECT count(*) FROM notes.t1", &[])
            .await
            .unwrap()
            .get::<_, i64>(0),
        1
    );
}

#[tokio::test]
async fn who_waits_too_long_for_another_run_is_told_who_holds_the_lock() {
    let database = database().await;
    let holder = database.client().await;
    let pid: i32 = holder
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    holder
        .query_one("SELECT pg_advisory_lock(x'6e73656c665f6d67'::bigint)", &[])
        .await
        .unwrap();
    let options = Options {
        wait_for_others: Duration::from_millis(120),
        ..Options::default()
    };
    let error = Migrator::new(database.client().await, options)
        .up(&[notes(1)])
        .await
        .unwrap_err();
    assert!(
        matches!(error, MigrateError::Locked { holder: Some(found), .. } if found == pid),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_beside_a_waiting_migration_waits_less_than_half_a_second() {
    let database = database().await;
    let mut migrator = migrator(&database).await;
    migrator.up(&[notes(1)]).await.unwrap();
    // The long reader: it holds its lock on the table until it is told to stop.
    let long_reader = database.client().await;
    long_reader
        .batch_execute("BEGIN; SELECT * FROM notes.t1")
        .await
        .unwrap();

    let waiting = Arc::new(Notify::new());
    let signal = waiting.clone();
    let migrator = migrator.on_progress(move |progress| {
        if matches!(progress, Progress::Statement { .. }) {
            signal.notify_one();
        }
    });
    let mut owner = notes(1);
    owner.steps.push(step(
        2,
        "ALTER TABLE t1 ADD COLUMN added int",
        "ALTER TABLE t1 DROP COLUMN added",
    ));
    let run = tokio::spawn(async move {
        let mut migrator = migrator;
        migrator.up(&[owner]).await
    });

    let reader = database.client().await;
    let mut longest = Duration::ZERO;
    let until = Instant::now() + Duration::from_secs(5);
    for _ in 0..5 {
        // Each round reads while the migration's statement is queued for the lock.
        waiting.notified().await;
        wait_for_queue(&database).await;
        let begun = Instant::now();
        reader.query("SELECT * FROM notes.t1", &[]).await.unwrap();
        longest = longest.max(begun.elapsed());
    }
    assert!(
        longest < Duration::from_millis(500),
        "a reader waited {longest:?}"
    );
    tokio::time::sleep_until(until.into()).await;
    assert!(
        !run.is_finished(),
        "the migration must still wait for the long reader"
    );
    long_reader.batch_execute("COMMIT").await.unwrap();
    run.await.unwrap().unwrap();
    println!("longest wait of a reader beside the migration: {longest:?}");
}

/// Until the migration's ALTER TABLE stands in the lock's queue, or has already given up.
async fn wait_for_queue(database: &nself::postgres::scratch::TestDatabase) {
    let client = database.client().await;
    let sql = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'notes.t1'::regclass";
    for _ in 0..20 {
        if client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) > 0 {
            return;
        }
    }
}

#[tokio::test]
async fn a_lock_that_is_never_free_ends_the_run_with_a_reason() {
    let database = database().await;
    let mut first = migrator(&database).await;
    first.up(&[notes(1)]).await.unwrap();
    let holder = database.client().await;
    holder
        .batch_execute("BEGIN; SELECT * FROM notes.t1")
        .await
        .unwrap();
    let options = Options {
        lock_timeout: Duration::from_millis(20),
        retry_for: Duration::from_millis(300),
        ..Options::default()
    };
    let error = Migrator::new(database.client().await, options)
        .down(&notes(1), 1)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("SQLSTATE 55P03") && error.contains("another session held a lock"),
        "{error}"
    );
    assert_eq!(recorded(&database.client().await, "notes").await, [1]);
}

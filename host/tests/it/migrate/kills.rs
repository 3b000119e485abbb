//! A run that dies at any statement leaves the state before or after the step, and the next run completes it.

use std::sync::{Arc, Mutex};

use nself::migrate::{Migrator, Options, Owner, Progress};
use nself::postgres::scratch::TestDatabase;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_postgres::Client;

use super::{database, migrator, recorded, step, tables};

/// A step whose statements each leave a trace, and the traces that it leaves when it is whole.
fn step_with_traces() -> Owner {
    let up = "CREATE TABLE a (id int);
        CREATE INDEX a_idx ON a (id);
        INSERT INTO a SELECT generate_series(1, 100);
        CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE TABLE b (id int)";
    Owner::plugin(
        "notes",
        vec![step(1, up, "DROP TABLE b; DROP FUNCTION f(); DROP TABLE a")],
    )
}

const STATEMENTS: usize = 5;
const WHOLE: [&str; 2] = ["a", "b"];

/// Nothing of the step is there, nor its record.
async fn assert_untouched(database: &TestDatabase, at: usize) {
    let client = database.client().await;
    assert_eq!(
        tables(&client, "notes").await,
        [""; 0],
        "killed at statement {at}"
    );
    assert_eq!(
        recorded(&client, "notes").await,
        [0; 0],
        "killed at statement {at}"
    );
}

async fn assert_next_run_completes(database: &TestDatabase, at: usize) {
    let report = migrator(database)
        .await
        .up(&[step_with_traces()])
        .await
        .unwrap();
    assert_eq!(report.steps.len(), 1, "after a kill at statement {at}");
    let client = database.client().await;
    assert_eq!(tables(&client, "notes").await, WHOLE);
    assert_eq!(
        client
            .query_one("SELECT count(*) FROM notes.a", &[])
            .await
            .unwrap()
            .get::<_, i64>(0),
        100
    );
    assert_eq!(recorded(&client, "notes").await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_killed_at_each_statement_leaves_nothing() {
    for at in 1..=STATEMENTS {
        let database = database().await;
        let client = database.client().await;
        let pid: i32 = client
            .query_one("SELECT pg_backend_pid()", &[])
            .await
            .unwrap()
            .get(0);
        let killer = Arc::new(database.client().await);
        let mut migrator = Migrator::new(client, Options::default()).on_progress(move |progress| {
            if matches!(progress, Progress::Statement { number, .. } if *number == at) {
                kill_and_wait(&killer, pid);
            }
        });
        let error = migrator
            .up(&[step_with_traces()])
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("run it again when the database is back"),
            "{error}"
        );
        assert_untouched(&database, at).await;
        assert_next_run_completes(&database, at).await;
    }
}

/// Ends the session from another one, and returns when it is gone.
fn kill_and_wait(killer: &Client, pid: i32) {
    tokio::task::block_in_place(|| {
        let killed = Handle::current()
            .block_on(killer.query_one("SELECT pg_terminate_backend($1, 10000)", &[&pid]));
        assert!(killed.unwrap().get::<_, bool>(0));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_vanishes_at_each_statement_leaves_nothing() {
    for at in 1..=STATEMENTS {
        let database = database().await;
        let (client, connection) = database
            .config()
            .connect(tokio_postgres::NoTls)
            .await
            .unwrap();
        let connection = tokio::spawn(connection);
        let reached = Arc::new(Notify::new());
        let signal = reached.clone();
        let (cut_off, is_cut_off) = std::sync::mpsc::channel();
        let is_cut_off = Mutex::new(is_cut_off);
        let migrator = Migrator::new(client, Options::default()).on_progress(move |progress| {
            if matches!(progress, Progress::Statement { number, .. } if *number == at) {
                signal.notify_one();
                // Not a step further before the socket is closed.
                tokio::task::block_in_place(|| is_cut_off.lock().unwrap().recv()).unwrap();
            }
        });
        let run = tokio::spawn(async move {
            let mut migrator = migrator;
            migrator.up(&[step_with_traces()]).await
        });
        // As kill -9 would: the socket closes in the middle of whatever is going on.
        reached.notified().await;
        connection.abort();
        assert!(connection.await.unwrap_err().is_cancelled());
        cut_off.send(()).unwrap();
        let outcome = run.await.unwrap();
        assert!(
            outcome.is_err(),
            "the runner must notice that it is cut off"
        );
        wait_until_nobody_migrates(&database).await;
        assert_untouched(&database, at).await;
        assert_next_run_completes(&database, at).await;
    }
}

/// The server notices a closed socket when it next writes to it; until then the cut-off session holds the lock.
async fn wait_until_nobody_migrates(database: &TestDatabase) {
    let client = database.client().await;
    client
        .query_one("SELECT pg_advisory_lock(x'6e73656c665f6d67'::bigint)", &[])
        .await
        .unwrap();
    client
        .query_one(
            "SELECT pg_advisory_unlock(x'6e73656c665f6d67'::bigint)",
            &[],
        )
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_down_killed_at_each_statement_leaves_the_step_whole() {
    let database = database().await;
    migrator(&database)
        .await
        .up(&[step_with_traces()])
        .await
        .unwrap();
    for at in 1..=3 {
        let client = database.client().await;
        let pid: i32 = client
            .query_one("SELECT pg_backend_pid()", &[])
            .await
            .unwrap()
            .get(0);
        let killer = Arc::new(database.client().await);
        let mut migrator = Migrator::new(client, Options::default()).on_progress(move |progress| {
            if matches!(progress, Progress::Statement { number, .. } if *number == at) {
                kill_and_wait(&killer, pid);
            }
        });
        migrator.down(&step_with_traces(), 1).await.unwrap_err();
        let client = database.client().await;
        assert_eq!(tables(&client, "notes").await, WHOLE);
        assert_eq!(recorded(&client, "notes").await, [1]);
    }
    migrator(&database)
        .await
        .down(&step_with_traces(), 1)
        .await
        .unwrap();
    assert_untouched(&database, 0).await;
}

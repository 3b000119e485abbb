//! Steps outside a transaction: resumable wherever they were cut off.

use std::time::Duration;

use nself::migrate::{Owner, State};
use nself::postgres::scratch::TestDatabase;
use tokio_postgres::Client;

use super::{database, migrator, recorded, step};

fn with_index() -> Owner {
    let index = step(
        2,
        "-- nself: no-transaction\nCREATE INDEX CONCURRENTLY a_idx ON a (id);",
        "-- nself: no-transaction\nDROP INDEX CONCURRENTLY a_idx;",
    );
    Owner::plugin(
        "notes",
        vec![step(1, "CREATE TABLE a (id int)", "DROP TABLE a"), index],
    )
}

fn without_index() -> Owner {
    let mut owner = with_index();
    owner.steps.pop();
    owner
}

/// Whether the index is there and valid; None when it is not there.
async fn index(client: &Client) -> Option<bool> {
    let sql = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('notes.a_idx')";
    client
        .query_opt(sql, &[])
        .await
        .unwrap()
        .map(|row| row.get(0))
}

#[tokio::test]
async fn an_index_is_made_and_dropped_without_a_transaction() {
    let database = database().await;
    let mut migrator = migrator(&database).await;
    migrator.up(&[with_index()]).await.unwrap();
    let client = database.client().await;
    assert_eq!(index(&client).await, Some(true));
    migrator.down(&with_index(), 1).await.unwrap();
    assert_eq!(index(&client).await, None);
    assert_eq!(recorded(&client, "notes").await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_was_killed_is_begun_again() {
    let database = database().await;
    migrator(&database)
        .await
        .up(&[without_index()])
        .await
        .unwrap();
    // An open transaction that wrote to the table: the build waits for it after it has made the index, still invalid.
    let writer = database.client().await;
    writer
        .batch_execute("BEGIN; INSERT INTO notes.a VALUES (1)")
        .await
        .unwrap();
    let mut runner = migrator(&database).await;
    let run = tokio::spawn(async move { runner.up(&[with_index()]).await });
    let client = database.client().await;
    kill_the_build(&client).await;
    let error = run.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("57P01"), "{error}");
    assert_eq!(
        index(&client).await,
        Some(false),
        "the killed build leaves an invalid index"
    );
    let status = migrator(&database)
        .await
        .status(&[with_index()])
        .await
        .unwrap();
    assert_eq!(status[1].state, State::Unfinished);

    writer.batch_execute("COMMIT").await.unwrap();
    migrator(&database).await.up(&[with_index()]).await.unwrap();
    assert_eq!(index(&client).await, Some(true));
    assert_eq!(recorded(&client, "notes").await, [1, 2]);
}

/// Waits until the build has its invalid index and stands in a queue, then ends its session.
async fn kill_the_build(client: &Client) {
    let sql = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
               WHERE datname = current_database() AND query LIKE 'CREATE INDEX CONCURRENTLY%'
                   AND wait_event_type = 'Lock' AND to_regclass('notes.a_idx') IS NOT NULL";
    let killed = async {
        while client.query(sql, &[]).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), killed)
        .await
        .expect("the build waits for the open transaction");
}

/// The states that a runner killed between its record and its statement, or after it, leaves behind.
async fn check_resumed(leave: &str, is_up: bool, expected: Option<bool>) {
    let database: TestDatabase = database().await;
    let mut migrator = migrator(&database).await;
    migrator.up(&[with_index()]).await.unwrap();
    let client = database.client().await;
    client
        .batch_execute(
            "UPDATE nself.migrations SET applied_at = NULL WHERE owner = 'notes' AND number = 2",
        )
        .await
        .unwrap();
    client.batch_execute(leave).await.unwrap();
    if is_up {
        migrator.up(&[with_index()]).await.unwrap();
    } else {
        migrator.down(&with_index(), 1).await.unwrap();
    }
    assert_eq!(index(&client).await, expected, "{leave}");
    assert_eq!(
        recorded(&client, "notes").await.len(),
        if is_up { 2 } else { 1 }
    );
}

#[tokio::test]
async fn a_step_cut_off_around_its_statement_is_resumed() {
    check_resumed("SELECT 1", true, Some(true)).await;
    check_resumed("DROP INDEX notes.a_idx", true, Some(true)).await;
    check_resumed("SELECT 1", false, None).await;
    check_resumed("DROP INDEX notes.a_idx", false, None).await;
}

#[tokio::test]
async fn a_build_that_fails_by_itself_leaves_nothing() {
    let database = database().await;
    let mut migrator = migrator(&database).await;
    migrator.up(&[without_index()]).await.unwrap();
    let client = database.client().await;
    client
        .batch_execute("INSERT INTO notes.a VALUES (1), (1)")
        .await
        .unwrap();
    let mut unique = with_index();
    unique.steps[1].up = unique.steps[1]
        .up
        .replace("CREATE INDEX", "CREATE UNIQUE INDEX");
    let error = migrator
        .up(&[unique.clone()])
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("notes/0002_step2.up.sql:2: could not create unique index"),
        "{error}"
    );
    assert_eq!(index(&client).await, None);
    assert_eq!(
        migrator.status(&[unique]).await.unwrap()[1].state,
        State::Pending
    );
}

#[tokio::test]
async fn an_index_of_that_name_that_is_not_ours_is_not_taken_for_done() {
    let database = database().await;
    let mut migrator = migrator(&database).await;
    migrator.up(&[without_index()]).await.unwrap();
    database
        .client()
        .await
        .batch_execute("CREATE INDEX a_idx ON notes.a ((id + 1))")
        .await
        .unwrap();
    let error = migrator.up(&[with_index()]).await.unwrap_err().to_string();
    assert!(error.contains("SQLSTATE 42P07"), "{error}");
}

//! Several replicas of one subscriber, and databases that go away.

use std::time::{Duration, Instant};

use nself::events::{Subscriber, Tuning};

use super::{Running, emit, log, subscriber, until, until_idle};
use crate::migrate::migrated;

#[tokio::test]
async fn one_replica_reads_and_the_other_takes_over_when_it_stops() {
    let database = migrated().await;
    let client = database.client().await;
    let (first_log, second_log) = (log(&database), log(&database));
    let mut first = Running::start(&first_log, subscriber("a"));
    emit(&client, "one").await;
    assert_eq!(first.subjects(1).await, ["one"]);
    let mut second = Running::start(&second_log, subscriber("a"));
    emit(&client, "two").await;
    assert_eq!(first.subjects(1).await, ["two"]);
    assert!(
        second.events.try_recv().is_err(),
        "only the lease's holder reads"
    );
    // Its lease lasts ten minutes, but it gives it back and says so.
    until(&client, "SELECT count(*) = 2 FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN nself_events'").await;
    let begun = Instant::now();
    first.stop().await;
    emit(&client, "three").await;
    assert_eq!(second.subjects(1).await, ["three"]);
    println!("taken over after {:?}", begun.elapsed());
    second.stop().await;
}

#[tokio::test]
async fn a_replica_that_dies_is_replaced_when_its_lease_ends() {
    let database = migrated().await;
    let client = database.client().await;
    let short = || {
        let plain = subscriber("a");
        Subscriber {
            tuning: Tuning {
                lease: Duration::from_secs(3),
                ..plain.tuning.clone()
            },
            ..plain
        }
    };
    let (first_log, second_log) = (log(&database), log(&database));
    let mut first = Running::start(&first_log, short());
    emit(&client, "one").await;
    assert_eq!(first.subjects(1).await, ["one"]);
    until(&client, "SELECT position = 1 FROM nself.event_cursors").await;
    let mut second = Running::start(&second_log, short());
    // It is renewed as long as it lives: several lease times pass and it still reads.
    until(
        &client,
        "SELECT lease_until > updated_at + '7 s' FROM nself.event_cursors",
    )
    .await;
    emit(&client, "two").await;
    assert_eq!(first.subjects(1).await, ["two"]);
    until(&client, "SELECT position = 2 FROM nself.event_cursors").await;
    first.kill().await;
    emit(&client, "three").await;
    assert_eq!(second.subjects(1).await, ["three"]);
    second.stop().await;
}

#[tokio::test]
async fn a_reader_survives_that_all_its_connections_are_cut() {
    let database = migrated().await;
    let client = database.client().await;
    let mut running = Running::start(&log(&database), subscriber("a"));
    emit(&client, "one").await;
    assert_eq!(running.subjects(1).await, ["one"]);
    until_idle(&client).await;
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    client.batch_execute(cut).await.unwrap();
    emit(&client, "two").await;
    assert_eq!(running.subjects(1).await, ["two"]);
    running.stop().await;
}

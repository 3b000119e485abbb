//! Handlers that fail, panic, or die in the middle.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nself::events::{Subscriber, Tuning};
use tokio_postgres::Client;

use super::{Running, emit, log, subscriber, until};
use crate::migrate::migrated;

fn with_attempts(attempts_max: u32, retry_pause: Duration) -> Subscriber {
    let plain = subscriber("a");
    Subscriber {
        tuning: Tuning {
            attempts_max,
            retry_pause,
            ..plain.tuning.clone()
        },
        ..plain
    }
}

async fn failures(client: &Client) -> Vec<(String, i32, String)> {
    let sql = "SELECT event ->> 'subject', attempts, error FROM nself.event_failures WHERE subscriber = 'a' ORDER BY failed_at";
    client
        .query(sql, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect()
}

#[tokio::test]
async fn an_event_that_fails_for_good_is_put_aside_and_blocks_nothing() {
    let database = migrated().await;
    let client = database.client().await;
    for subject in ["good", "poison", "panic", "last"] {
        emit(&client, subject).await;
    }
    let mut running = Running::start_with(
        &log(&database),
        with_attempts(3, Duration::from_millis(1)),
        |event| async move {
            match event.subject.as_deref() {
                Some("poison") => Err("it tastes bad".to_owned()),
                Some("panic") => panic!("the handler's own mistake"),
                _ => Ok(()),
            }
        },
    );
    let came = running.subjects(8).await;
    assert_eq!(
        came,
        [
            "good", "poison", "poison", "poison", "panic", "panic", "panic", "last"
        ]
    );
    running.stop().await;
    assert_eq!(
        failures(&client).await,
        [
            ("poison".into(), 3, "it tastes bad".into()),
            ("panic".into(), 3, "the handler panicked".into())
        ]
    );
    let lag = client
        .query_one("SELECT waiting, failures FROM nself.event_lag", &[])
        .await
        .unwrap();
    assert_eq!((lag.get::<_, i64>(0), lag.get::<_, i64>(1)), (0, 2));
}

#[tokio::test]
async fn an_event_that_fails_at_first_is_tried_again_in_its_place() {
    let database = migrated().await;
    let client = database.client().await;
    emit(&client, "one").await;
    emit(&client, "two").await;
    let tries = AtomicU32::new(0);
    let mut running = Running::start_with(
        &log(&database),
        with_attempts(5, Duration::from_millis(1)),
        move |_| {
            let fails = tries.fetch_add(1, Ordering::SeqCst) < 2;
            async move {
                if fails {
                    Err("not yet".to_owned())
                } else {
                    Ok(())
                }
            }
        },
    );
    assert_eq!(running.subjects(4).await, ["one", "one", "one", "two"]);
    running.stop().await;
    assert_eq!(failures(&client).await, []);
}

#[tokio::test]
async fn the_count_of_attempts_survives_a_restart() {
    let database = migrated().await;
    let client = database.client().await;
    emit(&client, "fine").await;
    emit(&client, "poison").await;
    let log = log(&database);
    let handle = |event: nself::events::CloudEvent| async move {
        if event.subject.as_deref() == Some("poison") {
            Err("no".to_owned())
        } else {
            Ok(())
        }
    };
    // After one failure it pauses for an hour: stopped in that pause, it has one attempt on record.
    let mut first = Running::start_with(&log, with_attempts(3, Duration::from_secs(3600)), handle);
    assert_eq!(first.subjects(2).await, ["fine", "poison"]);
    until(
        &client,
        "SELECT attempts = 1 AND last_error = 'no' FROM nself.event_cursors",
    )
    .await;
    first.stop().await;
    let mut second = Running::start_with(&log, with_attempts(3, Duration::from_millis(1)), handle);
    assert_eq!(second.subjects(2).await, ["poison", "poison"]);
    until(
        &client,
        "SELECT count(*) = 1 FROM nself.event_failures WHERE attempts = 3",
    )
    .await;
    second.stop().await;
}

#[tokio::test]
async fn what_was_handled_and_not_acknowledged_comes_again() {
    let database = migrated().await;
    let client = database.client().await;
    emit(&client, "one").await;
    emit(&client, "two").await;
    let log = log(&database);
    // It handles the first and dies in the second, before anything is acknowledged.
    let mut first = Running::start_with(&log, subscriber("a"), |event| async move {
        if event.subject.as_deref() == Some("two") {
            std::future::pending().await
        } else {
            Ok(())
        }
    });
    let came = first.subjects(2).await;
    first.kill().await;
    client
        .batch_execute("UPDATE nself.event_cursors SET lease_until = clock_timestamp()")
        .await
        .unwrap();
    let mut second = Running::start(&log, subscriber("a"));
    assert_eq!(second.subjects(2).await, came);
    second.stop().await;
    let mut third = Running::start(&log, subscriber("a"));
    emit(&client, "three").await;
    assert_eq!(third.subjects(1).await, ["three"]);
    third.stop().await;
}

#[tokio::test]
async fn a_late_acknowledgement_of_a_replaced_holder_fails() {
    let database = migrated().await;
    let client = database.client().await;
    emit(&client, "one").await;
    let (gate, log) = (Arc::new(tokio::sync::Semaphore::new(0)), log(&database));
    let waits = gate.clone();
    let mut running = Running::start_with(&log, subscriber("a"), move |_| {
        let waits = waits.clone();
        async move {
            waits
                .acquire()
                .await
                .map(drop)
                .map_err(|error| error.to_string())
        }
    });
    running.next().await;
    // Meanwhile another replica took over, and moved the cursor nowhere.
    let taken =
        "UPDATE nself.event_cursors SET lease_token = lease_token + 1, lease_holder = 'other'";
    client.batch_execute(taken).await.unwrap();
    gate.add_permits(10);
    // Its acknowledgement was refused: it stands in line for the lease again.
    let in_line = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                   AND pid <> pg_backend_pid() AND query LIKE '%lease_token = lease_token + 1%')";
    until(&client, in_line).await;
    until(
        &client,
        "SELECT position = 0 AND lease_holder = 'other' FROM nself.event_cursors",
    )
    .await;
    // The other one dies. The event was never acknowledged, so it comes again to whoever is next.
    client
        .batch_execute("UPDATE nself.event_cursors SET lease_until = clock_timestamp()")
        .await
        .unwrap();
    client
        .batch_execute("SELECT pg_notify('nself_events', 'a')")
        .await
        .unwrap();
    assert_eq!(running.subjects(1).await, ["one"]);
    until(&client, "SELECT position = 1 FROM nself.event_cursors").await;
    running.stop().await;
}

#[tokio::test]
async fn an_acknowledgement_after_the_leases_time_fails_even_if_nobody_took_over() {
    let database = migrated().await;
    let client = database.client().await;
    emit(&client, "one").await;
    let (gate, log) = (Arc::new(tokio::sync::Semaphore::new(0)), log(&database));
    let waits = gate.clone();
    let mut running = Running::start_with(&log, subscriber("a"), move |_| {
        let waits = waits.clone();
        async move {
            waits
                .acquire()
                .await
                .map(drop)
                .map_err(|error| error.to_string())
        }
    });
    running.next().await;
    client
        .batch_execute("UPDATE nself.event_cursors SET lease_until = clock_timestamp()")
        .await
        .unwrap();
    gate.add_permits(10);
    // Refused, so the reader takes a new lease and gets the event again.
    assert_eq!(running.subjects(1).await, ["one"]);
    until(
        &client,
        "SELECT position = 1 AND lease_token = 2 FROM nself.event_cursors",
    )
    .await;
    running.stop().await;
}

#[tokio::test]
async fn what_was_put_aside_is_delivered_again_on_request() {
    let database = migrated().await;
    let client = database.client().await;
    emit(&client, "poison").await;
    let log = log(&database);
    let is_cured = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let cured = is_cured.clone();
    let mut running = Running::start_with(&log, with_attempts(1, Duration::ZERO), move |_| {
        let outcome = if cured.load(Ordering::SeqCst) {
            Ok(())
        } else {
            Err("still bad".to_owned())
        };
        async move { outcome }
    });
    let first = running.next().await;
    until(&client, "SELECT count(*) = 1 FROM nself.event_failures").await;
    assert_eq!(log.retry_failures("a", Some(first.id)).await.unwrap(), 1);
    assert_eq!(running.next().await, first);
    until(
        &client,
        "SELECT attempts = 2 AND retry_requested_at IS NULL FROM nself.event_failures",
    )
    .await;
    is_cured.store(true, Ordering::SeqCst);
    assert_eq!(log.retry_failures("a", None).await.unwrap(), 1);
    assert_eq!(running.next().await, first);
    until(&client, "SELECT count(*) = 0 FROM nself.event_failures").await;
    assert_eq!(log.retry_failures("a", None).await.unwrap(), 0);
    running.stop().await;
}

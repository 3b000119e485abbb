//! Waking up: at once when notified, in the end when not, and no notification that nobody needs.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use nself::events::{Subscriber, Tuning};
use tokio_postgres::{AsyncMessage, NoTls};

use super::{LIMIT, Running, emit, log, subscriber, until, until_idle};
use crate::migrate::migrated;

/// Until the reader has looked after marking itself; the sweep of ten minutes then leaves only the notification.
async fn until_asleep(client: &tokio_postgres::Client) {
    until_idle(client).await;
    let last_query_is_the_look = "SELECT bool_and(state = 'idle') FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND state IS NOT NULL";
    until(client, last_query_is_the_look).await;
}

#[tokio::test]
async fn an_idle_reader_is_woken_by_a_notification() {
    let database = migrated().await;
    let client = database.client().await;
    let mut running = Running::start(&log(&database), subscriber("a"));
    let mut latencies = Vec::new();
    for n in 0..30 {
        until_asleep(&client).await;
        let begun = Instant::now();
        emit(&client, &n.to_string()).await;
        running.next().await;
        latencies.push(begun.elapsed());
    }
    running.stop().await;
    latencies.sort();
    println!(
        "emit to handler, idle reader: median {:?}, longest {:?}",
        latencies[15], latencies[29]
    );
    assert!(
        latencies[29] < Duration::from_secs(5),
        "the sweep of ten minutes must not be what wakes"
    );
}

#[tokio::test]
async fn a_lost_notification_is_healed_by_the_sweep() {
    let database = migrated().await;
    let client = database.client().await;
    let plain = subscriber("a");
    let tuning = Tuning {
        sweep: Duration::from_millis(300),
        ..plain.tuning.clone()
    };
    let mut running = Running::start(&log(&database), Subscriber { tuning, ..plain });
    until_asleep(&client).await;
    // Without its mark nobody notifies.
    client
        .batch_execute("DELETE FROM nself.event_waiters")
        .await
        .unwrap();
    emit(&client, "unheard").await;
    assert_eq!(running.subjects(1).await, ["unheard"]);
    running.stop().await;
}

#[tokio::test]
async fn writers_notify_only_a_waiting_reader_that_wants_the_type() {
    let database = migrated().await;
    let client = database.client().await;
    let (listener, mut connection) = database.config().connect(NoTls).await.unwrap();
    let mut messages =
        futures_util::stream::poll_fn(move |context| connection.poll_message(context));
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notification(notification) = message {
                sender.send(notification.payload().to_owned()).unwrap();
            }
        }
    });
    listener.batch_execute("LISTEN nself_events").await.unwrap();
    let mark = |pattern: &str, until: &str| {
        let sql = "INSERT INTO nself.event_waiters VALUES ('a', ARRAY['PATTERN'], clock_timestamp() + 'UNTIL')
                   ON CONFLICT (subscriber) DO UPDATE SET patterns = excluded.patterns, until = excluded.until";
        sql.replace("PATTERN", pattern).replace("UNTIL", until)
    };
    emit(&client, "nobody waits").await;
    client.batch_execute(&mark("other.%", "1 h")).await.unwrap();
    emit(&client, "nobody wants it").await;
    client.batch_execute(&mark("%", "-1 s")).await.unwrap();
    emit(&client, "the mark is over").await;
    client.batch_execute(&mark("note.%", "1 h")).await.unwrap();
    client
        .batch_execute("BEGIN; SELECT nself.emit_event('note.added', 'x', NULL); ROLLBACK")
        .await
        .unwrap();
    client
        .batch_execute("NOTIFY nself_events, 'end of the quiet part'")
        .await
        .unwrap();
    emit(&client, "wanted").await;
    let next = async || {
        tokio::time::timeout(LIMIT, heard.recv())
            .await
            .unwrap()
            .unwrap()
    };
    let mut next = next;
    assert_eq!(next().await, "end of the quiet part");
    assert_eq!(next().await, "a");
}

#[tokio::test]
async fn a_busy_reader_takes_its_mark_away() {
    let database = migrated().await;
    let client = database.client().await;
    let running = Running::start_with(&log(&database), subscriber("a"), |_| std::future::pending());
    until_idle(&client).await;
    emit(&client, "one").await;
    until(
        &client,
        "SELECT NOT EXISTS (SELECT FROM nself.event_waiters)",
    )
    .await;
    running.kill().await;
}

#[tokio::test]
async fn a_transaction_that_missed_the_mark_is_found_without_notification() {
    let database = migrated().await;
    let (client, slow) = (database.client().await, database.client().await);
    // It emits before the reader marks itself, so it does not notify; the sweep is ten minutes away.
    slow.batch_execute("BEGIN").await.unwrap();
    emit(&slow, "unheard").await;
    let mut running = Running::start(&log(&database), subscriber("a"));
    until_idle(&client).await;
    slow.batch_execute("COMMIT").await.unwrap();
    assert_eq!(running.subjects(1).await, ["unheard"]);
    running.stop().await;
}

#[tokio::test]
async fn events_that_follow_each_other_closely_are_read_and_acknowledged_together() {
    let database = migrated().await;
    let client = database.client().await;
    client
        .batch_execute(
            "CREATE TABLE acknowledged (at timestamptz);
             CREATE FUNCTION count_it() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN INSERT INTO acknowledged VALUES (clock_timestamp()); RETURN NULL; END $$;
             CREATE TRIGGER counted AFTER UPDATE ON nself.event_cursors FOR EACH ROW
                 WHEN (old.position <> new.position) EXECUTE FUNCTION count_it()",
        )
        .await
        .unwrap();
    let mut running = Running::start(&log(&database), subscriber("a"));
    until_asleep(&client).await;
    let begun = Instant::now();
    for n in 0..60 {
        emit(&client, &n.to_string()).await;
    }
    let subjects = running.subjects(60).await;
    let took = begun.elapsed();
    running.stop().await;
    assert_eq!(subjects, (0..60).map(|n| n.to_string()).collect::<Vec<_>>());
    let acknowledged: i64 = client
        .query_one("SELECT count(*) FROM acknowledged", &[])
        .await
        .unwrap()
        .get(0);
    // One for the first, and one every 20 ms.
    let most = took.as_millis() / 20 + 2;
    assert!(
        u128::try_from(acknowledged).unwrap() <= most,
        "{acknowledged} in {took:?}"
    );
}

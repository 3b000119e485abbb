//! Order, completeness, envelope.

use nself::events::{EventError, StartAt, Subscriber};
use serde_json::json;
use tokio::sync::watch;

use super::{Running, emit, log, subscriber};
use crate::migrate::migrated;

#[tokio::test]
async fn events_come_in_order_as_cloud_events() {
    let database = migrated().await;
    let client = database.client().await;
    let family = uuid::Uuid::now_v7();
    let sql = "SELECT nself.emit_event('family.member_joined', 'family/1', '{\"n\": 1}', $1, 'https://example.org/s', '00-ab-cd-01')";
    let id: uuid::Uuid = client.query_one(sql, &[&family]).await.unwrap().get(0);
    emit(&client, "second").await;
    let mut running = Running::start(&log(&database), subscriber("a"));
    let event = running.next().await;
    let document = serde_json::to_value(&event).unwrap();
    assert_eq!(
        document,
        json!({
            "specversion": "1.0", "id": id, "source": "/nself", "type": "family.member_joined", "subject": "family/1",
            "time": event.time, "datacontenttype": "application/json", "dataschema": "https://example.org/s",
            "data": {"n": 1}, "familyid": family, "traceparent": "00-ab-cd-01", "sequence": "1",
        })
    );
    assert_eq!(running.next().await.subject.as_deref(), Some("second"));
    running.stop().await;
}

#[tokio::test]
async fn only_wanted_types_come_and_the_rest_is_passed_over() {
    let database = migrated().await;
    let client = database.client().await;
    for kind in [
        "family.joined",
        "familyx.joined",
        "family.member.left",
        "user.added",
        "userxadded.a",
    ] {
        client
            .execute("SELECT nself.emit_event($1, $1, NULL)", &[&kind])
            .await
            .unwrap();
    }
    let types = ["family.*", "user.added"].map(str::to_owned).to_vec();
    let mut running = Running::start(
        &log(&database),
        Subscriber {
            types,
            ..subscriber("a")
        },
    );
    assert_eq!(
        running.subjects(3).await,
        ["family.joined", "family.member.left", "user.added"]
    );
    running.stop().await;
    let error = log(&database)
        .run(
            Subscriber::new("b", &["*.joined"]),
            async |_| Ok(()),
            watch::channel(false).1,
        )
        .await;
    assert!(matches!(error, Err(EventError::Pattern { .. })));
}

#[tokio::test]
async fn what_happens_after_a_subscriber_was_registered_comes_to_it_though_it_reads_later() {
    let database = migrated().await;
    let client = database.client().await;
    let log = log(&database);
    let subscriber = Subscriber {
        start_at: StartAt::Now,
        ..subscriber("a")
    };
    log.register(&subscriber).await.unwrap();
    emit(&client, "between").await;
    // Readers register once more when they begin.
    let mut running = Running::start(&log, subscriber);
    assert_eq!(running.subjects(1).await, ["between"]);
    running.stop().await;
    let refused = log.register(&Subscriber::new("b", &["*.joined"])).await;
    assert!(matches!(refused, Err(EventError::Pattern { .. })));
}

#[tokio::test]
async fn a_new_subscriber_begins_now_or_with_the_oldest() {
    let database = migrated().await;
    let client = database.client().await;
    emit(&client, "before").await;
    // Other tests' transactions share the cluster's horizon.
    super::until(
        &client,
        "SELECT bool_and(xid < pg_snapshot_xmin(pg_current_snapshot())) FROM nself.events",
    )
    .await;
    let log = log(&database);
    let mut late = Running::start(
        &log,
        Subscriber {
            start_at: StartAt::Now,
            ..subscriber("late")
        },
    );
    super::until_idle(&client).await;
    emit(&client, "after").await;
    assert_eq!(late.subjects(1).await, ["after"]);
    let mut all = Running::start(&log, subscriber("all"));
    assert_eq!(all.subjects(2).await, ["before", "after"]);
    late.stop().await;
    all.stop().await;
}

#[tokio::test]
async fn a_transaction_that_commits_late_is_not_skipped() {
    let database = migrated().await;
    let (client, slow) = (database.client().await, database.client().await);
    let mut running = Running::start(&log(&database), subscriber("a"));
    // It draws its numbers first and commits last.
    slow.batch_execute("BEGIN").await.unwrap();
    emit(&slow, "slow").await;
    for n in 0..5 {
        emit(&client, &format!("quick {n}")).await;
    }
    // The reader has seen that there is something which it may not take yet.
    super::until(&client, "SELECT EXISTS (SELECT FROM nself.event_waiters)").await;
    assert!(
        running.events.try_recv().is_err(),
        "nothing may come before the open transaction has ended"
    );
    slow.batch_execute("COMMIT").await.unwrap();
    assert_eq!(
        running.subjects(6).await,
        [
            "slow", "quick 0", "quick 1", "quick 2", "quick 3", "quick 4"
        ]
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_of_many_speeds_lose_nothing() {
    const WRITERS: i32 = 12;
    const EACH: i32 = 60;
    let database = migrated().await;
    let mut running = Running::start(&log(&database), subscriber("a"));
    let writers = (0..WRITERS).map(async |writer| {
        let client = database.client().await;
        for n in 0..EACH {
            // Some transactions stay open while others come and go; every seventh is taken back.
            client.batch_execute("BEGIN").await.unwrap();
            emit(&client, &format!("{writer}/{n}")).await;
            client
                .query_one(
                    "SELECT pg_sleep($1::integer / 1000.0)",
                    &[&(writer * n % 5)],
                )
                .await
                .unwrap();
            client
                .batch_execute(if n % 7 == 0 { "ROLLBACK" } else { "COMMIT" })
                .await
                .unwrap();
        }
    });
    futures_util::future::join_all(writers).await;
    let mut expected: Vec<_> = (0..WRITERS)
        .flat_map(|writer| {
            (0..EACH)
                .filter(|n| n % 7 != 0)
                .map(move |n| format!("{writer}/{n}"))
        })
        .collect();
    let mut found = running.subjects(expected.len()).await;
    running.stop().await;
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

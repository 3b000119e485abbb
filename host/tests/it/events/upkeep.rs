//! Pruning, forgetting, and a log that came from another cluster.

use std::time::Duration;

use super::{Running, emit, log, subscriber, until};
use crate::migrate::migrated;

async fn count(client: &tokio_postgres::Client) -> i64 {
    client
        .query_one("SELECT count(*) FROM nself.events", &[])
        .await
        .unwrap()
        .get(0)
}

#[tokio::test]
async fn pruning_keeps_what_the_slowest_subscriber_still_has_to_see() {
    let database = migrated().await;
    let client = database.client().await;
    let log = log(&database);
    for n in 0..4 {
        emit(&client, &n.to_string()).await;
    }
    let mut quick = Running::start(&log, subscriber("quick"));
    quick.subjects(4).await;
    until(
        &client,
        "SELECT position = 4 FROM nself.event_cursors WHERE subscriber = 'quick'",
    )
    .await;
    let behind = "INSERT INTO nself.event_cursors (subscriber, types, xid, position)
                  SELECT 'slow', '{*}', xid, position FROM nself.events WHERE subject = '1'";
    client.batch_execute(behind).await.unwrap();
    assert_eq!(log.prune(Duration::from_secs(3600)).await.unwrap(), 0);
    // Other tests' transactions share the cluster's horizon, so it may take a moment.
    until(
        &client,
        "SELECT nself.prune_events('0 s') >= 0 AND count(*) = 2 FROM nself.events",
    )
    .await;
    log.forget("slow").await.unwrap();
    until(
        &client,
        "SELECT nself.prune_events('0 s', 1) >= 0 AND count(*) = 0 FROM nself.events",
    )
    .await;
    assert_eq!(count(&client).await, 0);
    quick.stop().await;
}

#[tokio::test]
async fn a_subscriber_that_wants_nothing_does_not_keep_the_log() {
    let database = migrated().await;
    let client = database.client().await;
    let log = log(&database);
    let mut idle = subscriber("idle");
    idle.types = vec!["never.*".to_owned()];
    idle.tuning.sweep = Duration::from_millis(100);
    let running = Running::start(&log, idle);
    emit(&client, "unwanted").await;
    until(
        &client,
        "SELECT nself.prune_events('0 s') >= 0 AND count(*) = 0 FROM nself.events",
    )
    .await;
    running.stop().await;
}

#[tokio::test]
async fn a_log_restored_from_a_cluster_with_greater_numbers_goes_on() {
    let database = migrated().await;
    let client = database.client().await;
    let log = log(&database);
    for n in 0..3 {
        emit(&client, &n.to_string()).await;
    }
    let mut before = Running::start(&log, subscriber("a"));
    before.subjects(2).await;
    before.stop().await;
    // As a dump of a cluster that has drawn a billion numbers more. The cursor stands behind the second event.
    client
        .batch_execute(
            "UPDATE nself.events SET xid = (xid::text::bigint + 1000000000)::text::xid8;
             UPDATE nself.event_cursors SET (xid, position) = (SELECT xid, position FROM nself.events WHERE subject = '1')",
        )
        .await
        .unwrap();
    emit(&client, "new").await;
    let mut after = Running::start(&log, subscriber("a"));
    assert_eq!(after.subjects(2).await, ["2", "new"]);
    emit(&client, "newer").await;
    assert_eq!(after.subjects(1).await, ["newer"]);
    after.stop().await;
    let again = client
        .query_one("SELECT nself.rebase_events()", &[])
        .await
        .unwrap();
    assert!(!again.get::<_, bool>(0));
}

//! Several hosts on one database: what only one of them may do.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use nself::{capability::task::lease::Leases, postgres::connect::Target};
use nself_plugin_testkit::{TestHost, eventually, within};
use serde_json::Value;

use crate::started;

async fn replica(host: &TestHost) -> String {
    let about = host
        .get("/fixture/about")
        .send()
        .await
        .expect_status(200)
        .data();
    about["replica"]
        .as_str()
        .expect("a replica has an id")
        .to_owned()
}

/// Who ran the task in its last `count` runs, once there are so many after `after`.
async fn beats(host: &TestHost, after: i64, count: i64) -> (BTreeSet<String>, i64) {
    let sql = host.sql().await;
    let sql_text = "select array_agg(distinct replica::text), count(*), max(number) from fixture.beats where number > $1";
    eventually("runs of the task", async || {
        let row = sql
            .query_one(sql_text, &[&after])
            .await
            .expect("runs can be read");
        let replicas: Option<Vec<String>> = row.get(0);
        let last: Option<i64> = row.get(2);
        (row.get::<_, i64>(1) >= count).then_some((replicas?.into_iter().collect(), last?))
    })
    .await
}

#[tokio::test]
async fn a_singleton_task_runs_on_one_replica_and_moves_when_that_one_stops() {
    let first = started().await;
    let second = first.beside().start().await;
    let (leader, other) = (replica(&first).await, replica(&second).await);
    assert_ne!(leader, other);
    let (who, _) = beats(&second, 0, 10).await;
    assert_eq!(who, BTreeSet::from([leader.clone()]));
    first.stop().await;
    let (_, last) = beats(&second, 0, 1).await;
    let (who, _) = beats(&second, last, 3).await;
    assert_eq!(who, BTreeSet::from([other]));
    second.stop().await;
}

#[tokio::test]
async fn a_lease_passes_on_when_its_holder_lets_go() {
    let first = started().await;
    let second = first.beside().start().await;
    let mut holds = first.get("/fixture/lease/ledger").events().await;
    assert_eq!(
        holds.next().await.expect("a lease").data,
        replica(&first).await
    );
    let waits = second.get("/fixture/lease/ledger").events();
    let mut elsewhere = second.get("/fixture/lease/another").events().await;
    assert_eq!(elsewhere.next().await.expect("a lease").event, "held");
    let (mut waits, ()) = tokio::join!(waits, async { drop(holds) });
    assert_eq!(
        waits.next().await.expect("the lease").data,
        replica(&second).await
    );
    drop((waits, elsewhere));
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_lease_is_lost_with_the_database() {
    let host = started().await;
    let mut story = host.get("/fixture/lease/ledger").events().await;
    assert_eq!(story.next().await.expect("a lease").event, "held");
    let outage = host.database_away().await;
    assert_eq!(story.next().await.expect("it goes on").event, "lost");
    outage.end().await;
    assert_eq!(story.next().await.expect("it goes on").event, "held");
    drop(story);
    host.stop().await;
}

#[tokio::test]
async fn replicas_accept_the_same_tokens_and_read_the_same_rows() {
    let first = started().await;
    let second = first.beside().start().await;
    let token = first.token_of(nself_plugin_api::uuid::Uuid::now_v7(), None);
    assert_eq!(
        second
            .get("/fixture/anybody")
            .token(&token)
            .send()
            .await
            .status,
        200
    );
    let written = first
        .post("/fixture/items")
        .json(&serde_json::json!({"name": "shared"}))
        .send()
        .await;
    let _: Value = written.expect_status(201).data();
    assert_eq!(second.get("/fixture/copy").send().await.text(), "shared\n");
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_lease_that_nobody_waits_for_any_more_is_free() {
    let host = started().await;
    let target = Target::from_url(&host.database().url()).expect("a test has a database");
    let (gives_up, other) = (Leases::new(&target), Leases::new(&target));
    // At every moment of the attempt: before it is sent, on its way, answered.
    for steps in 0..40 {
        let mut waiting = std::pin::pin!(gives_up.acquire("ledger"));
        for _ in 0..steps {
            let _ = (&mut waiting).now_or_never();
            tokio::task::yield_now().await;
        }
    }
    let held = within("the lease", other.acquire("ledger")).await;
    drop(held);
    host.stop().await;
}

//! Hosts whose clocks are wrong.

use std::sync::Arc;

use nself_plugin_testkit::WrongClock;
use serde_json::json;

use super::ledger::{assert_each_done_once, builder, enqueue_kind, runs, until_completed};
use crate::stage::count;

const HOUR: i64 = 3_600;

#[tokio::test(flavor = "multi_thread")]
async fn no_job_is_early_and_none_is_lost_on_hosts_whose_clocks_are_an_hour_wrong_and_jump() {
    let (ahead, behind) = (
        Arc::new(WrongClock::default()),
        Arc::new(WrongClock::default()),
    );
    ahead.set_ahead(HOUR);
    behind.set_ahead(-HOUR);
    let host = builder().wrong_clock(Arc::clone(&ahead)).start().await;
    let second = host.beside().wrong_clock(Arc::clone(&behind)).start().await;
    let sql = host.sql().await;
    let mut ids = Vec::new();
    for (round, delay) in [0.3, 0.8, 1.5, 2.5, 3.5].into_iter().enumerate() {
        // The key says by the database's clock when they are due.
        let due: String = sql
            .query_one(
                "select (clock_timestamp() + make_interval(secs => $1))::text",
                &[&delay],
            )
            .await
            .expect("the database has a clock")
            .get(0);
        let options = json!({"run_at": due});
        ids.extend(enqueue_kind(&sql, "ledger.once", 20, &json!({"key": due}), &options).await);
        if round == 2 {
            ahead.set_ahead(-HOUR);
            behind.set_ahead(24 * HOUR);
        }
    }
    until_completed(&sql, ids.len()).await;
    assert_each_done_once(&runs(&sql).await, &ids);
    let early = "select count(*) from ledger.runs where started_at < key::timestamptz";
    assert_eq!(count(&sql, early).await, 0);
    assert_eq!(count(&sql, "select count(*) from jobs.hosts").await, 2);
    second.stop().await;
    host.stop().await;
}

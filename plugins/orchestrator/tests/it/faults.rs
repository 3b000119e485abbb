//! Hosts that are killed.

use std::collections::HashSet;

use nself_plugin_testkit::{LIMIT, TestHost, eventually};
use serde_json::json;

use crate::stage::{Ledger, builder, definition, put, start};

/// Instances, and calls of each.
const INSTANCES: usize = 30;
const CALLS: usize = 3;

/// Lets a host drive nothing from here on: it has the database and is beside those that do.
async fn stand_by(host: &TestHost) {
    let disabled = host.registry().disable("jobs", LIMIT, true).await;
    disabled.unwrap_or_else(|refusal| panic!("{refusal}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_are_killed_at_random_moments_lose_no_step_and_repeat_none_under_another_key() {
    let ledger = Ledger::open(&[200]).await;
    let config = format!(
        "[plugins.orchestrator]\negress = [\"{}\"]\n",
        ledger.address
    );
    let host = builder().config(&config).start().await;
    let task = |number| {
        format!(
            "  - call{number}:\n      call: http\n      with: {{method: post, endpoint: 'http://{}/step{number}'}}\n  - rest{number}:\n      wait: {{milliseconds: 20}}\n",
            ledger.address
        )
    };
    let tasks: String = (0..CALLS).map(task).collect();
    put(&host, "steps", &definition("steps", "", &tasks)).await;
    let sql = host.sql().await;
    for _ in 0..INSTANCES {
        start(&host, "steps", json!({}), 0).await;
    }
    stand_by(&host).await;
    for round in 1..=4 {
        let other = host.process_beside().config(&config).start().await;
        let wanted = round * INSTANCES * CALLS / 6;
        eventually("some calls are made", async || {
            (ledger.seen().len() >= wanted.min(INSTANCES * CALLS - 1)).then_some(())
        })
        .await;
        other.kill().await;
    }
    let _last = host.process_beside().config(&config).start().await;
    let left = "select count(*) from orchestrator.instances where status <> 'completed'";
    eventually("all runs are completed", async || {
        let left: i64 = sql.query_one(left, &[]).await.expect("it is asked").get(0);
        (left == 0).then_some(())
    })
    .await;
    let keys: HashSet<String> = ledger.seen().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), INSTANCES * CALLS, "each effect has one key");
    let done = "select count(*), count(distinct (instance_id, position)) from orchestrator.history \
                where status = 'completed' and name like 'call%'";
    let row = sql.query_one(done, &[]).await.expect("the history");
    let (rows, steps): (i64, i64) = (row.get(0), row.get(1));
    assert_eq!((rows, steps), (90, 90), "each step has one result");
    host.stop().await;
}

//! A database that falls silent: nothing is refused or closed, and nothing is answered.

use std::time::Duration;

use nself_plugin_testkit::{Answer, HostProcess, TestHost, Wire, eventually};
use serde_json::json;
use tokio::time::Instant;

use crate::started;

/// Time that a handler has.
const PATIENCE: Duration = Duration::from_secs(1);
/// What a loaded machine may take beyond that.
const MARGIN: Duration = Duration::from_secs(4);

/// A host process behind a wire.
struct Stage {
    host: TestHost,
    wire: Wire,
    other: HostProcess,
}

impl Stage {
    async fn new() -> Self {
        let host = started().await;
        let wire = Wire::new(&host);
        // One connection, so that nothing else can be used in its place.
        let config = format!(
            "[http]\nrequest_timeout_ms = {}\n[database]\nplugin_pool_max = 1",
            PATIENCE.as_millis()
        );
        let other = host.process_beside().config(&config);
        let other = other.database_url(wire.url()).start().await;
        let stage = Self { host, wire, other };
        assert_eq!(stage.write("before").await.status, 201);
        stage
    }

    async fn write(&self, name: &str) -> Answer {
        let post = self.host.post("/fixture/items").at(self.other.address());
        post.json(&json!({"name": name})).send().await
    }

    /// Each of some requests is answered within its time, and who needs no database does not notice.
    async fn is_answered_in_time(&self) {
        for round in 0..6 {
            let begun = Instant::now();
            let answer = self.write(&format!("in silence {round}")).await;
            assert!(matches!(answer.status, 503 | 504), "{}", answer.text());
            assert!(begun.elapsed() < PATIENCE + MARGIN, "{:?}", begun.elapsed());
            let live = self.host.get("/livez").at(self.other.address());
            assert_eq!(live.send().await.status, 200);
        }
    }

    async fn until_it_writes(&self) {
        let mut tries = 0;
        eventually("it writes", async || {
            tries += 1;
            let answer = self.write(&format!("again {tries}")).await;
            (answer.status == 201).then_some(())
        })
        .await;
    }

    /// Nothing is left in a statement or a transaction.
    async fn nothing_hangs(self) {
        let sql = self.host.sql().await;
        let hanging = "select count(*) from pg_stat_activity where datname = current_database() \
                       and pid <> pg_backend_pid() and state <> 'idle'";
        eventually("nothing is under way", async || {
            let count: i64 = sql.query_one(hanging, &[]).await.expect("a count").get(0);
            (count == 0).then_some(())
        })
        .await;
        self.host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_silent_for_good_are_replaced() {
    let stage = Stage::new().await;
    stage.wire.swallow();
    let begun = Instant::now();
    let answer = stage.write("unheard").await;
    assert_eq!((answer.status, &*answer.code()), (504, "TIMEOUT"));
    assert!(begun.elapsed() < PATIENCE + MARGIN, "{:?}", begun.elapsed());
    // It is replaced, and a new one is not silent.
    stage.until_it_writes().await;
    stage.nothing_hangs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nothing_gets_through_each_request_is_answered_in_time_and_then_all_goes_on() {
    let stage = Stage::new().await;
    stage.wire.swallow_all();
    stage.is_answered_in_time().await;
    stage.wire.pass();
    stage.until_it_writes().await;
    stage.nothing_hangs().await;
}

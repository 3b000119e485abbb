//! Postgres through the plugin's own login.

use std::cell::Cell;

use bytes::Bytes;
use futures_util::{future::join_all, stream};
use nself_plugin_testkit::{TestHost, eventually};
use serde_json::{Value, json};

use crate::started;

async fn names(host: &TestHost) -> Vec<String> {
    let sql = host.sql().await;
    let rows = sql
        .query("select name from fixture.items order by id", &[])
        .await;
    rows.expect("items can be read")
        .iter()
        .map(|row| row.get(0))
        .collect()
}

#[tokio::test]
async fn only_what_is_committed_stays() {
    let host = started().await;
    for (name, end, seen) in [
        ("a", "commit", 1),
        ("b", "rollback", 2),
        ("c", "drop", 2),
        ("d", "commit", 2),
    ] {
        let item = json!({"name": name, "end": end});
        let answer = host
            .post("/fixture/items")
            .json(&item)
            .send()
            .await
            .expect_status(201);
        assert_eq!(
            answer.data()["seen"],
            seen,
            "{name} is seen inside of its own transaction"
        );
    }
    assert_eq!(names(&host).await, ["a", "d"]);
    host.stop().await;
}

#[tokio::test]
async fn a_violated_constraint_has_its_name() {
    let host = started().await;
    let item = json!({"name": "a"});
    let _ = host
        .post("/fixture/items")
        .json(&item)
        .send()
        .await
        .expect_status(201);
    let again = host.post("/fixture/items").json(&item).send().await;
    assert_eq!((again.status, &*again.code()), (409, "ITEM_EXISTS"));
    host.stop().await;
}

#[tokio::test]
async fn of_two_serializable_transactions_that_cannot_both_be_one_is_refused() {
    let host = started().await;
    let raced = host
        .post("/fixture/race")
        .send()
        .await
        .expect_status(200)
        .data();
    assert_eq!(
        raced,
        json!({"counted": [0, 0], "sqlstate": "40001", "status": 503})
    );
    assert_eq!(names(&host).await.len(), 1);
    host.stop().await;
}

#[tokio::test]
async fn statements_of_one_transaction_go_out_together_and_answer_in_order() {
    let host = started().await;
    let numbers = host.get("/fixture/pipeline").send().await.data();
    assert_eq!(numbers, json!((1..=50).collect::<Vec<i64>>()));
    host.stop().await;
}

#[tokio::test]
async fn copy_takes_and_gives_lines_as_they_come() {
    let host = started().await;
    let lines = |block| (0..50).map(move |line| format!("item {block} {line}\n"));
    let chunks: Vec<Bytes> = (0..200)
        .map(|block| Bytes::from(lines(block).collect::<Vec<_>>().concat()))
        .collect();
    let sent = host
        .post("/fixture/copy")
        .stream(stream::iter(chunks.clone()))
        .send()
        .await;
    assert_eq!(sent.expect_status(200).data(), 10_000);
    let back = host.get("/fixture/copy").send().await.expect_status(200);
    assert_eq!(back.body, chunks.concat());
    // Lines that the table refuses leave nothing, and the connection is good for the next one.
    let twice = host
        .post("/fixture/copy")
        .body("new\nitem 0 0\n")
        .send()
        .await;
    assert_eq!((twice.status, &*twice.code()), (409, "ITEM_EXISTS"));
    assert_eq!(names(&host).await.len(), 10_000);
    host.stop().await;
}

#[tokio::test]
async fn notifications_reach_everybody_who_listens_to_their_channel() {
    let host = started().await;
    let mut one = host.get("/fixture/listen/a").events().await;
    let mut two = host.get("/fixture/listen/a").events().await;
    let mut other = host.get("/fixture/listen/b").events().await;
    for (channel, payload) in [("a", "first"), ("b", "elsewhere"), ("a", "second")] {
        let path = format!("/fixture/notify/{channel}");
        let _ = host
            .post(&path)
            .body(payload)
            .send()
            .await
            .expect_status(204);
    }
    for reader in [&mut one, &mut two] {
        for payload in ["first", "second"] {
            assert_eq!(reader.next().await.expect("it goes on").data, payload);
        }
    }
    assert_eq!(other.next().await.expect("it goes on").data, "elsewhere");
    drop((one, two, other));
    host.stop().await;
}

#[tokio::test]
async fn a_listener_is_told_that_it_missed_something_while_the_database_was_away() {
    let host = started().await;
    let mut events = host.get("/fixture/listen/a").events().await;
    host.database_away().await.end().await;
    assert_eq!(
        events.next().await.expect("it goes on").event,
        "reconnected"
    );
    eventually("notifying again", async || {
        let told = host.post("/fixture/notify/a").body("back").send().await;
        (told.status == 204).then_some(())
    })
    .await;
    assert_eq!(events.next().await.expect("it goes on").data, "back");
    drop(events);
    host.stop().await;
}

#[tokio::test]
async fn while_the_database_is_away_a_request_fails_at_once_and_then_works_again() {
    let host = started().await;
    let ask = async || host.get("/fixture/pipeline").send().await.status;
    assert_eq!(ask().await, 200);
    let outage = host.database_away().await;
    assert!(ask().await >= 500);
    outage.end().await;
    eventually("an answer", async || (ask().await == 200).then_some(())).await;
    host.stop().await;
}

#[tokio::test]
async fn an_audit_entry_names_the_plugin_that_made_it() {
    let host = started().await;
    let _ = host.post("/fixture/audit").send().await.expect_status(204);
    let sql = host.sql().await;
    let entry = "select target, details, actor from nself.audit_log where action = 'fixture.tried'";
    let entry = sql.query_one(entry, &[]).await.expect("one entry");
    assert_eq!(entry.get::<_, String>("target"), "everything");
    assert_eq!(entry.get::<_, Value>("details")["why"], "a test");
    drop(sql);
    host.stop().await;
}

/// Inserts take their time.
const SLOW: &str = "create function fixture.take_time() returns trigger language plpgsql as \
    $$ begin perform pg_sleep(0.02); return new; end $$; \
    create trigger items_take_time before insert on fixture.items for each row execute function fixture.take_time()";

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_served_and_of_a_queue_that_does_not_end_a_part_is_told_to_come_again() {
    let host = started().await;
    let slowed = host.sql().await.batch_execute(SLOW).await;
    slowed.expect("the trigger can be made");
    let write = async |name: String| {
        let item = json!({ "name": name });
        host.post("/fixture/items").json(&item).send().await
    };
    let burst = (0..20).map(|number| write(format!("burst {number}")));
    for answer in join_all(burst).await {
        assert_eq!(answer.status, 201, "{}", answer.text());
    }

    let (served, refused) = (Cell::new(20), Cell::new(0));
    join_all((0..100).map(|caller| {
        let (served, refused, write) = (&served, &refused, &write);
        async move {
            for number in 0.. {
                if refused.get() >= 50 {
                    break;
                }
                let answer = write(format!("{caller} {number}")).await;
                if answer.status == 201 {
                    served.set(served.get() + 1);
                    continue;
                }
                assert_eq!((answer.status, &*answer.code()), (503, "DATABASE_BUSY"));
                assert_eq!(answer.headers["retry-after"], "1");
                refused.set(refused.get() + 1);
            }
        }
    }))
    .await;
    // Who was refused has left nothing, and who comes afterwards is served.
    assert_eq!(names(&host).await.len(), served.get());
    assert_eq!(write("afterwards".to_owned()).await.status, 201);
    host.stop().await;
}

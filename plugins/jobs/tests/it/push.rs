//! Kinds whose jobs are sent to an endpoint.

use nself_plugin_testkit::TestHost;
use serde_json::{Value, json};

use crate::{
    clients::Script,
    stage::{builder, count, enqueue, job, until},
};

/// A secret of the tests.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const TRACE_PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A host, and a receiver that it may reach.
struct Stage {
    host: TestHost,
    receiver: Script,
    url: String,
}

impl Stage {
    async fn open() -> Self {
        let mut receiver = Script::start("receiver.mjs", &[("SECRET", SECRET)]).await;
        let address = receiver.line().await["address"].take();
        let address = address.as_str().expect("an address").to_owned();
        let reach = format!("[plugins.jobs]\negress = [\"{address}\"]");
        let host = builder().config(&reach).start().await;
        let url = format!("http://{address}/hook");
        Self {
            host,
            receiver,
            url,
        }
    }

    /// Sends the jobs of a kind to the receiver.
    async fn endpoint(&self, kind: &str, more: Value) -> Value {
        put(&self.host, kind, &self.url, more).await
    }

    /// Enqueues a job that the receiver answers so, and returns it with the request that came.
    async fn answered(&mut self, answer: Value, options: Value) -> (i64, Value) {
        let payload = json!({"answer": answer});
        let id = enqueue(&self.host, "push.hook", payload, options).await;
        (id, self.receiver.line().await)
    }
}

async fn put(host: &TestHost, kind: &str, url: &str, more: Value) -> Value {
    let mut body = json!({"endpoint": url, "secret": SECRET});
    for (key, value) in more.as_object().expect("fields") {
        body[key] = value.clone();
    }
    let answer = host.put(&format!("/v1/jobs/kinds/{kind}"));
    let answer = answer.operator().json(&body).send().await;
    answer.expect_status(200).data()
}

#[tokio::test]
async fn a_job_is_sent_as_a_signed_event_and_the_answer_is_its_result() {
    let mut stage = Stage::open().await;
    stage.endpoint("push.hook", json!({})).await;
    let answer =
        json!({"headers": {"content-type": "application/json"}, "body": "{\"seen\": true}"});
    let (id, request) = stage
        .answered(
            answer,
            json!({"trace_parent": TRACE_PARENT, "attempts_max": 4}),
        )
        .await;
    let done = until(&stage.host, id, "completed").await;
    assert_eq!(done["result"], json!({"seen": true}));
    // Read by the SDK and checked by the library on the other side.
    let event = &request["event"];
    assert_eq!(
        (
            &event["id"],
            &event["type"],
            &event["source"],
            &event["specversion"]
        ),
        (
            &json!(id.to_string()),
            &json!("push.hook"),
            &json!("/v1/jobs"),
            &json!("1.0")
        )
    );
    assert_eq!(
        (&event["attempt"], &event["attemptsmax"]),
        (&json!(1), &json!(4))
    );
    assert_eq!(request["headers"]["webhook-id"], id.to_string());
    assert_eq!(
        request["headers"]["content-type"],
        "application/cloudevents+json"
    );
    assert_eq!(request["headers"]["traceparent"], TRACE_PARENT);
    stage.host.stop().await;
}

#[tokio::test]
async fn what_made_a_job_is_told_in_attributes_that_any_reader_of_events_sees() {
    let mut stage = Stage::open().await;
    stage.endpoint("push.hook", json!({})).await;
    let hook = json!({"kind": "push.hook", "payload": {"own": true}});

    let times =
        json!({"scheduled_at": "2030-01-01T06:00:00+01:00", "fired_at": "2030-01-01T05:00:00.25Z"});
    let (id, request) = stage.answered(json!({}), times).await;
    let event = &request["event"];
    assert_eq!(
        (&event["id"], &event["scheduledat"], &event["firedat"]),
        (
            &json!(id.to_string()),
            &json!("2030-01-01T05:00:00Z"),
            &json!("2030-01-01T05:00:00.25Z")
        )
    );
    assert_eq!(
        (&event["previous"], &event["endedbatch"]),
        (&Value::Null, &Value::Null)
    );

    let sum = json!({"a": 1, "b": 2});
    let chain = json!({"then": [hook]});
    enqueue(&stage.host, "fixture-caller.add", sum.clone(), chain).await;
    let event = stage.receiver.line().await["event"].take();
    assert_eq!(event["data"], json!({"own": true}));
    let text = event["previous"].as_str().expect("JSON as a text");
    let previous: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(previous, json!({"sum": 3}));
    assert_eq!(event["scheduledat"], Value::Null);

    let batch = json!({"name": "sums", "then": hook});
    let opened = stage.host.post("/v1/jobs/batches").operator().json(&batch);
    let batch = opened.send().await.expect_status(201).data()["id"].clone();
    enqueue(
        &stage.host,
        "fixture-caller.add",
        sum,
        json!({"batch": batch}),
    )
    .await;
    let path = format!("/v1/jobs/batches/{}/seal", batch.as_str().expect("an id"));
    let sealed = stage.host.post(&path).operator().send().await;
    assert_eq!(sealed.status, 200);
    let event = stage.receiver.line().await["event"].take();
    assert_eq!(event["data"], json!({"own": true}));
    let text = event["endedbatch"].as_str().expect("JSON as a text");
    let ended: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(
        (
            &ended["id"],
            &ended["name"],
            &ended["total"],
            &ended["failed"]
        ),
        (&batch, &json!("sums"), &json!(1), &json!(0))
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn a_repeat_is_the_same_event() {
    let mut stage = Stage::open().await;
    let retry = json!({"strategy": "fixed", "base": 0.01, "jitter": "none"});
    stage.endpoint("push.hook", json!({"retry": retry})).await;
    let (id, first) = stage
        .answered(
            json!({"status": 500, "body": "no\nroom"}),
            json!({"attempts_max": 2}),
        )
        .await;
    let second = stage.receiver.line().await;
    assert_eq!(first["event"]["id"], second["event"]["id"]);
    assert_eq!(
        first["headers"]["webhook-id"],
        second["headers"]["webhook-id"]
    );
    assert_eq!(second["event"]["attempt"], 2);
    let discarded = until(&stage.host, id, "discarded").await;
    assert_eq!(
        (&discarded["error"]["code"], &discarded["error"]["message"]),
        (
            &json!("JOB_ENDPOINT_STATUS"),
            &json!("the endpoint answered 500 and says: no room")
        )
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_is_gone_ends_the_job_and_one_that_is_busy_says_when() {
    let mut stage = Stage::open().await;
    stage.endpoint("push.hook", json!({})).await;
    let (gone, _) = stage.answered(json!({"status": 410}), json!({})).await;
    let discarded = until(&stage.host, gone, "discarded").await;
    assert_eq!(
        (&discarded["error"]["code"], &discarded["attempt"]),
        (&json!("JOB_DISCARD"), &json!(1))
    );
    for status in [429, 503] {
        let answer = json!({"status": status, "headers": {"retry-after": "3000"}});
        let (busy, _) = stage.answered(answer, json!({})).await;
        until(&stage.host, busy, "retryable").await;
        let waits = format!(
            "select count(*) from jobs.later where id = {busy} and run_at between now() + interval '2900 seconds' and now() + interval '3000 seconds'"
        );
        assert_eq!(count(&stage.host.sql().await, &waits).await, 1, "{status}");
    }
    // Only with those two: elsewhere the job's own policy holds.
    let answer = json!({"status": 500, "headers": {"retry-after": "3000"}});
    let retry = json!({"strategy": "fixed", "base": 100, "jitter": "none"});
    let (broken, _) = stage.answered(answer, json!({"retry": retry})).await;
    until(&stage.host, broken, "retryable").await;
    let waits = format!(
        "select count(*) from jobs.later where id = {broken} and run_at < now() + interval '100 seconds'"
    );
    assert_eq!(count(&stage.host.sql().await, &waits).await, 1);
    stage.host.stop().await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_kept_does_not_undo_the_job() {
    let mut stage = Stage::open().await;
    stage.endpoint("push.hook", json!({})).await;
    let kind = json!({"content-type": "application/json"});
    for body in ["{", "[\"\\u0000\"]", &format!("\"{}\"", "a".repeat(70_000))] {
        let (id, _) = stage
            .answered(json!({"headers": kind, "body": body}), json!({}))
            .await;
        let done = until(&stage.host, id, "completed").await;
        assert_eq!(done["result"], Value::Null);
        let told = format!("select count(*) from jobs.logs where id = {id} and level = 'warn'");
        assert_eq!(count(&stage.host.sql().await, &told).await, 1);
    }
    stage.host.stop().await;
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let mut stage = Stage::open().await;
    stage.endpoint("push.hook", json!({})).await;
    let answer = json!({"status": 307, "headers": {"location": "/elsewhere"}});
    let (id, _) = stage.answered(answer, json!({"attempts_max": 1})).await;
    let discarded = until(&stage.host, id, "discarded").await;
    let message = discarded["error"]["message"].as_str();
    assert_eq!(
        message,
        Some("the endpoint answered 307; redirects are not followed")
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn another_secret_does_not_verify_and_a_new_one_is_shown_once() {
    let mut stage = Stage::open().await;
    let first = stage.endpoint("push.hook", json!({})).await;
    assert_eq!(first["secret"], SECRET);
    let kept = stage
        .endpoint("push.hook", json!({"secret": null, "timeout": 5}))
        .await;
    assert_eq!(kept["secret"], Value::Null);
    let (good, _) = stage.answered(json!({}), json!({})).await;
    until(&stage.host, good, "completed").await;
    let new = stage
        .endpoint("push.hook", json!({"secret": null, "new_secret": true}))
        .await;
    let secret = new["secret"].as_str().expect("a secret");
    assert!(secret.starts_with("whsec_") && secret != SECRET, "{secret}");
    let (_, request) = stage.answered(json!({}), json!({"attempts_max": 1})).await;
    assert!(request["error"].is_string(), "{request}");
    let sql = stage.host.sql().await;
    let plain = format!(
        "select count(*) from jobs.kinds where position(decode('{}', 'base64') in endpoint_secret) > 0",
        &secret[6..]
    );
    assert_eq!(count(&sql, &plain).await, 0);
    let shown = stage
        .host
        .get("/v1/jobs/kinds/push.hook")
        .operator()
        .send()
        .await;
    assert!(!shown.expect_status(200).text().contains("whsec_"));
    let audited = "select count(*) from nself.audit_log where action = 'jobs.kind_set' and target = 'push.hook'";
    assert_eq!(count(&sql, audited).await, 3);
    stage.host.stop().await;
}

#[tokio::test]
async fn an_endpoint_in_a_private_network_is_not_reached_unless_it_is_granted() {
    let host = builder().start().await;
    put(&host, "push.hook", "http://127.0.0.1:9/hook", json!({})).await;
    let id = enqueue(&host, "push.hook", json!({}), json!({"attempts_max": 1})).await;
    let discarded = until(&host, id, "discarded").await;
    assert_eq!(discarded["error"]["code"], "EGRESS_DENIED");
    assert!(!discarded.to_string().contains("/hook"), "{discarded}");
    host.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_is_not_waited_for_and_a_cancelled_job_neither() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = silent.local_addr().expect("an address");
    let reach = format!("[plugins.jobs]\negress = [\"{address}\"]");
    let host = builder().config(&reach).start().await;
    put(
        &host,
        "push.hook",
        &format!("http://{address}/"),
        json!({"timeout": 0.3}),
    )
    .await;
    let late = enqueue(&host, "push.hook", json!({}), json!({"attempts_max": 1})).await;
    let discarded = until(&host, late, "discarded").await;
    assert_eq!(discarded["error"]["code"], "JOB_TIMEOUT");
    let unwanted = enqueue(&host, "push.hook", json!({}), json!({"timeout": 600})).await;
    until(&host, unwanted, "running").await;
    let cancel = host.post(&format!("/v1/jobs/{unwanted}/cancel"));
    assert_eq!(cancel.operator().send().await.status, 200);
    until(&host, unwanted, "cancelled").await;
    host.stop().await;
}

#[tokio::test]
async fn a_kind_is_listed_and_deleted_by_operators_only() {
    let host = builder().start().await;
    put(
        &host,
        "push.hook",
        "https://example.org/",
        json!({"queue": "hooks", "attempts_max": 3, "timeout": 1.5}),
    )
    .await;
    let shown = host.get("/v1/jobs/kinds/push.hook").operator().send().await;
    let shown = shown.expect_status(200).data();
    assert_eq!(
        (
            &shown["queue"],
            &shown["attempts_max"],
            &shown["timeout"],
            &shown["declared_by"]
        ),
        (&json!("hooks"), &json!(3), &json!(1.5), &json!("operator"))
    );
    let listed = host.get("/v1/jobs/kinds").operator().send().await.data();
    let kinds: Vec<&str> = listed
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|kind| kind["kind"].as_str())
        .collect();
    assert!(
        kinds.contains(&"push.hook") && kinds.contains(&"jobs.prune"),
        "{kinds:?}"
    );
    let service = host
        .put("/v1/jobs/kinds/push.hook")
        .token(TestHost::SERVICE_KEY);
    assert_eq!(
        service
            .json(&json!({"endpoint": "https://example.org/"}))
            .send()
            .await
            .status,
        403
    );
    let id = enqueue(&host, "push.hook", json!({}), json!({"delay": 3600})).await;
    assert_eq!(job(&host, id).await["queue"], "hooks");
    let deleted = host.delete("/v1/jobs/kinds/push.hook").operator();
    assert_eq!(deleted.send().await.status, 204);
    let gone = host.get("/v1/jobs/kinds/push.hook").operator().send().await;
    assert_eq!(
        (gone.status, gone.code()),
        (404, "JOB_KIND_NOT_FOUND".to_owned())
    );
    let again = host
        .delete("/v1/jobs/kinds/push.hook")
        .operator()
        .send()
        .await;
    assert_eq!(again.status, 404);
    host.stop().await;
}

#[tokio::test]
async fn a_kind_that_makes_no_sense_is_refused_and_one_of_a_plugin_is_the_plugins() {
    let host = builder().start().await;
    let good = json!({"endpoint": "https://example.org/"});
    let cases = [
        (
            "push.hook",
            json!({"endpoint": "ftp://example.org/"}),
            422,
            "JOB_KIND_INVALID",
        ),
        (
            "push.hook",
            json!({"endpoint": "https://me:you@example.org/"}),
            422,
            "JOB_KIND_INVALID",
        ),
        (
            "push.hook",
            json!({"secret": "short"}),
            422,
            "JOB_KIND_INVALID",
        ),
        (
            "push.hook",
            json!({"queue": "Not A Queue"}),
            422,
            "JOB_KIND_INVALID",
        ),
        (
            "push.hook",
            json!({"attempts_max": 0}),
            422,
            "JOB_KIND_INVALID",
        ),
        ("push.hook", json!({"timeout": -1}), 422, "JOB_KIND_INVALID"),
        (
            "push.hook",
            json!({"retry": {"strategy": "never"}}),
            422,
            "JOB_OPTION",
        ),
        ("-", json!({}), 422, "JOB_KIND_INVALID"),
        ("fixture-caller.add", json!({}), 409, "JOB_KIND_DECLARED"),
        ("jobs.prune", json!({}), 409, "JOB_KIND_DECLARED"),
    ];
    for (kind, change, status, code) in cases {
        let mut body = good.clone();
        for (key, value) in change.as_object().expect("fields") {
            body[key] = value.clone();
        }
        let answer = host
            .put(&format!("/v1/jobs/kinds/{kind}"))
            .operator()
            .json(&body)
            .send()
            .await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (status, code),
            "{kind} {change}"
        );
    }
    let declared = host
        .delete("/v1/jobs/kinds/fixture-caller.add")
        .operator()
        .send()
        .await;
    assert_eq!(
        (declared.status, declared.code()),
        (409, "JOB_KIND_DECLARED".to_owned())
    );
    host.stop().await;
}

#[tokio::test]
async fn other_hosts_hear_of_an_endpoint() {
    let stage = Stage::open().await;
    // Before there is a kind: it learns of it while it runs, and is alone then.
    let second = stage.host.beside().start().await;
    let retry = json!({"strategy": "fixed", "base": 0.05, "jitter": "none"});
    stage.endpoint("push.hook", json!({"retry": retry})).await;
    let Stage {
        host, mut receiver, ..
    } = stage;
    host.stop().await;
    let id = enqueue(&second, "push.hook", json!({}), json!({})).await;
    assert_eq!(receiver.line().await["event"]["id"], id.to_string());
    until(&second, id, "completed").await;
    second.stop().await;
}

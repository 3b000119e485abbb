//! Kinds that the plugin works itself.

use nself_plugin_testkit::{TestHost, eventually};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::stage::{builder, count, enqueue, submit, until, until_count};

/// A service that answers each connection with the next of these, and remembers what came.
async fn service(
    answers: &'static [&'static str],
) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let served = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut socket, _) = listener.accept().await.expect("a connection");
            let mut request = vec![0; 8_192];
            let read = socket.read(&mut request).await.expect("a request");
            requests.push(String::from_utf8_lossy(&request[..read]).into_owned());
            socket
                .write_all(answer.as_bytes())
                .await
                .expect("it is answered");
        }
        requests
    });
    (address, served)
}

async fn reaching(address: &str) -> TestHost {
    builder()
        .config(&format!("[plugins.jobs]\negress = [\"{address}\"]"))
        .start()
        .await
}

#[tokio::test]
async fn a_request_is_sent_and_its_answer_is_the_result() {
    let (address, served) = service(&[
        "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 8\r\nconnection: close\r\n\r\n{\"id\":7}",
        "HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\nconnection: close\r\n\r\ngone",
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 3000\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    ])
    .await;
    let host = reaching(&address).await;
    let url = format!("http://{address}/things");
    let request =
        json!({"method": "POST", "url": url, "headers": {"x-key": "k"}, "body": {"a": 1}});
    let id = enqueue(&host, "jobs.http_request", request, json!({})).await;
    let done = until(&host, id, "completed").await;
    assert_eq!(done["result"], json!({"status": 201, "body": {"id": 7}}));
    // A status that is expected is success, another one is not.
    let expected = enqueue(
        &host,
        "jobs.http_request",
        json!({"url": url, "statuses": [404]}),
        json!({}),
    )
    .await;
    let done = until(&host, expected, "completed").await;
    assert_eq!(done["result"], json!({"status": 404, "body": "gone"}));
    let busy = enqueue(&host, "jobs.http_request", json!({"url": url}), json!({})).await;
    let waiting = until(&host, busy, "retryable").await;
    assert_eq!(waiting["meta"]["errors"][0]["code"], "JOB_HTTP_STATUS");
    let late = format!(
        "select count(*) from jobs.later where id = {busy} and run_at > now() + interval '2900 seconds'"
    );
    assert_eq!(count(&host.sql().await, &late).await, 1);
    let requests = served.await.expect("all came");
    assert!(
        requests[0].starts_with("POST /things HTTP/1.1\r\n")
            && requests[0].ends_with("\r\n\r\n{\"a\":1}"),
        "{}",
        requests[0]
    );
    assert!(
        requests[0].contains("x-key: k\r\n")
            && requests[0].contains(&format!("idempotency-key: \"jobs:{id}\"\r\n")),
        "{}",
        requests[0]
    );
    host.stop().await;
}

#[tokio::test]
async fn a_request_into_a_private_network_is_not_sent_and_one_that_is_none_is_given_up() {
    let host = builder().start().await;
    let private = enqueue(
        &host,
        "jobs.http_request",
        json!({"url": "http://127.0.0.1:9/"}),
        json!({"attempts_max": 1}),
    )
    .await;
    assert_eq!(
        until(&host, private, "discarded").await["error"]["code"],
        "EGRESS_DENIED"
    );
    let none = enqueue(
        &host,
        "jobs.http_request",
        json!({"url": "https://example.org/", "method": "TRACE"}),
        json!({}),
    )
    .await;
    assert_eq!(
        until(&host, none, "discarded").await["error"]["code"],
        "JOB_DISCARD"
    );
    host.stop().await;
}

#[tokio::test]
async fn a_mail_is_sent_once_where_a_plugin_sends_mails() {
    let host = builder()
        .plugin("nself-plugin-mail")
        .config("[plugins.mail.listen]\n1025 = 0")
        .start()
        .await;
    let letter = json!({"to": "ada@example.org", "subject": "Hello", "text": "How are you?"});
    let id = enqueue(&host, "jobs.send_email", letter, json!({})).await;
    let done = until(&host, id, "completed").await;
    assert_eq!(done["result"]["status"], "queued");
    let sent = format!("select count(*) from mail.messages where idempotency_key = 'jobs:{id}'");
    assert_eq!(count(&host.sql().await, &sent).await, 1);
    // A letter that is wrong stays wrong.
    let wrong = enqueue(
        &host,
        "jobs.send_email",
        json!({"to": "nobody", "subject": "a", "text": "b"}),
        json!({}),
    )
    .await;
    let discarded = until(&host, wrong, "discarded").await;
    assert_eq!(discarded["error"]["code"], "JOB_DISCARD");
    host.stop().await;
}

#[tokio::test]
async fn a_mail_follows_a_job_and_a_batch_as_it_was_written() {
    let host = builder()
        .plugin("nself-plugin-mail")
        .config("[plugins.mail.listen]\n1025 = 0")
        .start()
        .await;
    let sql = host.sql().await;
    let letter = |subject| json!({"kind": "jobs.send_email", "payload": {"to": "ada@example.org", "subject": subject, "text": "It is done."}});
    let sum = json!({"a": 1, "b": 2});
    let chain = json!({"then": [letter("The sum")]});
    submit(&sql, "fixture-caller.add", sum.clone(), chain).await;
    let batch = json!({"then": letter("All sums")});
    let opened = host.post("/v1/jobs/batches").operator().json(&batch);
    let batch = opened.send().await.expect_status(201).data()["id"].clone();
    submit(&sql, "fixture-caller.add", sum, json!({"batch": batch})).await;
    let path = format!("/v1/jobs/batches/{}/seal", batch.as_str().expect("an id"));
    let sealed = host.post(&path).operator().send().await;
    assert_eq!(sealed.status, 200);
    let caught = eventually("both mails are caught", async || {
        let page = host.get("/api/v2/messages").send().await.expect_status(200);
        let items = page.json()["items"].as_array()?.clone();
        (items.len() == 2).then_some(items)
    })
    .await;
    for mail in &caught {
        assert_eq!(mail["Content"]["Headers"]["To"][0], "ada@example.org");
    }
    // The mail may be there before the job that sent it has come to its end. Each job knows why it was made.
    let mails = "select count(*) from jobs.finished where kind = 'jobs.send_email' and meta ?| '{previous,ended_batch}'";
    until_count(&sql, mails, 2).await;
    assert_eq!(count(&sql, "select count(*) from jobs.dead").await, 0);
    host.stop().await;
}

#[tokio::test]
async fn without_a_plugin_that_sends_mails_a_mail_waits() {
    let host = builder().start().await;
    let id = enqueue(
        &host,
        "jobs.send_email",
        json!({"to": "ada@example.org"}),
        json!({}),
    )
    .await;
    let waiting = until(&host, id, "retryable").await;
    assert_eq!(
        waiting["meta"]["errors"][0]["code"],
        "CAPABILITY_UNAVAILABLE"
    );
    host.stop().await;
}

#[tokio::test]
async fn pruning_now_drops_what_is_too_old() {
    let host = builder().start().await;
    let sql = host.sql().await;
    sql.batch_execute(
        "insert into jobs.dead (id, queue, kind, payload, error, failed_at) values (1, 1, 'a.b', '{}', '{}', now() - interval '90 days')",
    )
    .await
    .expect("an old one");
    let id = enqueue(&host, "jobs.prune", json!({}), json!({})).await;
    let done = until(&host, id, "completed").await;
    assert!(done["result"]["pruned"].as_i64() >= Some(1), "{done}");
    assert_eq!(count(&sql, "select count(*) from jobs.dead").await, 0);
    assert_ne!(done["result"], Value::Null);
    host.stop().await;
}

//! What operators see and do.

use nself_plugin_api::{prelude::Role, uuid::Uuid};
use serde_json::{Value, json};

use crate::stage::{builder, catching, caught, metric, plain, reaches, send};

#[tokio::test]
async fn mails_are_listed_by_state_and_address_without_what_they_say() {
    let host = catching().await;
    let mut secret = plain("ada@example.org");
    secret["text"] = json!("https://example.org/secret-link");
    let (ada, _) = send(&host, &secret).await;
    let (bob, _) = send(&host, &plain("bob@example.org")).await;
    for id in [&ada, &bob] {
        reaches(&host, id, "sent").await;
    }
    let list = async |query: &str| {
        let list = host.get(&format!("/mail/messages{query}")).operator();
        list.send().await.expect_status(200)
    };
    let ids = |list: &Value| -> Vec<String> {
        let mails = list.as_array().expect("a list").iter();
        mails
            .map(|mail| mail["id"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let all = list("").await;
    assert!(!all.text().contains("secret-link"));
    assert_eq!(ids(&all.data()), [&*bob, &*ada]);
    assert_eq!(
        ids(&list("?status=sent&to=ADA@example.org").await.data()),
        [&*ada]
    );
    assert_eq!(ids(&list("?status=failed").await.data()), [""; 0]);
    assert_eq!(ids(&list(&format!("?before={bob}")).await.data()), [&*ada]);
    assert_eq!(ids(&list("?limit=1").await.data()), [&*bob]);
    let strange = host
        .get("/mail/messages?status=lost")
        .operator()
        .send()
        .await;
    assert_eq!(strange.status, 400);
    let again = host
        .post(&format!("/mail/messages/{ada}/retry"))
        .operator()
        .send()
        .await;
    assert_eq!((again.status, &*again.code()), (409, "MAIL_NOT_RETRYABLE"));
    let nothing = Uuid::now_v7();
    let nothing = host
        .post(&format!("/mail/messages/{nothing}/retry"))
        .operator();
    assert_eq!(nothing.send().await.code(), "MAIL_NOT_FOUND");
    host.stop().await;
}

#[tokio::test]
async fn addresses_come_onto_the_list_and_off_it() {
    let host = catching().await;
    let add = async |body: Value| {
        host.post("/mail/suppressions")
            .operator()
            .json(&body)
            .send()
            .await
    };
    let first = add(json!({"address": "Ada@example.org", "detail": "by phone"})).await;
    let first = first.expect_status(201).data();
    assert_eq!(
        (&first["address"], &first["reason"]),
        (&json!("ada@example.org"), &json!("manual"))
    );
    let second = add(json!({"address": "ada@example.org"})).await;
    assert_eq!(second.expect_status(201).data(), first, "it was there");
    let bad = add(json!({"address": "ada"})).await;
    assert_eq!((bad.status, &*bad.code()), (422, "MAIL_ADDRESS"));
    let long = "x".repeat(501);
    let bad = add(json!({"address": "bob@example.org", "detail": long})).await;
    assert_eq!((bad.status, &*bad.code()), (422, "BODY_INVALID"));
    let list = host
        .get("/mail/suppressions")
        .operator()
        .send()
        .await
        .data();
    assert_eq!(list, json!([first]));
    let remove = async || {
        host.delete("/mail/suppressions/ADA%40example.org")
            .operator()
            .send()
            .await
    };
    let _ = remove().await.expect_status(204);
    assert_eq!(remove().await.code(), "MAIL_NOT_SUPPRESSED");
    let (_, status) = send(&host, &plain("ada@example.org")).await;
    assert_eq!(status, "queued");
    host.stop().await;
}

#[tokio::test]
async fn a_test_mail_is_sent_in_the_language_of_choice() {
    let host = builder()
        .config(
            "[plugins.mail.config]\napp_name = \"Hearth\"\nfrom = \"Hearth <hearth@example.org>\"",
        )
        .start()
        .await;
    let test = host.post("/mail/test").operator();
    let test = test.json(&json!({"to": "ada@example.org", "language": "de"}));
    let _ = test.send().await.expect_status(201);
    let mail = &caught(&host, 1).await[0];
    assert_eq!(
        mail["Content"]["Headers"]["Subject"][0],
        "Testmail von Hearth"
    );
    assert_eq!(
        mail["Content"]["Headers"]["From"][0],
        "Hearth <hearth@example.org>"
    );
    host.stop().await;
}

#[tokio::test]
async fn nobody_else_sees_the_queue() {
    let host = catching().await;
    let family = Uuid::now_v7();
    for path in ["/mail/status", "/mail/messages", "/mail/suppressions"] {
        assert_eq!(host.get(path).send().await.status, 401, "{path}");
        let owner = host.get(path).role(Role::Owner, family).send().await;
        assert_eq!(owner.status, 403, "{path}");
    }
    host.stop().await;
}

#[tokio::test]
async fn the_queue_is_measured_and_finished_mails_are_forgotten_in_time() {
    let host = catching().await;
    let (id, _) = send(&host, &plain("ada@example.org")).await;
    reaches(&host, &id, "sent").await;
    let sql = host.sql().await;
    let waiting = "insert into mail.messages (state, address, recipient, sender, subject, created_at, queued_at, due_at) \
        values ('queued', 'a@b', 'a@b.c', 'a@b.c', 's', now(), now() - interval '90 seconds', now() + interval '1 hour')";
    sql.execute(waiting, &[]).await.expect("a row");
    let aged =
        "update mail.messages set finished_at = now() - interval '15 days' where state = 'sent'";
    sql.execute(aged, &[]).await.expect("a row");
    let running = host.running("mail").await;
    running
        .instance()
        .run_task(0)
        .await
        .expect("the sweep runs");
    assert!(metric(&host, "queue_oldest_seconds").await >= 90.0);
    assert!((metric(&host, "queue_depth").await - 1.0).abs() < 0.1);
    assert!((metric(&host, "sent_total").await - 1.0).abs() < 0.1);
    let left = sql
        .query("select state from mail.messages", &[])
        .await
        .expect("rows");
    assert_eq!(left.len(), 1, "the one that waits");
    drop((sql, running));
    host.stop().await;
}

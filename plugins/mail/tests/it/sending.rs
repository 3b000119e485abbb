//! `mail.send/1`: what is taken, what is refused, and that one mail is one mail.

use std::time::{Duration, Instant};

use nself_plugin_api::futures_util::future;
use serde_json::{Value, json};

use crate::stage::{call, catching, caught, plain, progress, reaches, send};

#[tokio::test]
async fn a_mail_from_a_template_arrives_in_the_language_that_was_asked_for() {
    let host = catching().await;
    let mail = json!({
        "to": "Ada <ada@example.org>", "template": "auth/verify-email", "language": "de",
        "variables": {"link": "https://example.org/verify?ticket=1&x=2", "name": "Ada", "expires_minutes": 60},
        "reply_to": "help@example.org",
    });
    let (id, status) = send(&host, &mail).await;
    assert_eq!(status, "queued");
    let sent = reaches(&host, &id, "sent").await;
    assert_eq!(sent["attempts"], 1);
    assert_eq!(sent["last_error"], Value::Null);
    let mail = &caught(&host, 1).await[0];
    let headers = &mail["Content"]["Headers"];
    assert_eq!(headers["To"][0], "Ada <ada@example.org>");
    assert_eq!(headers["From"][0], "no-reply@localhost.localdomain");
    assert_eq!(headers["Reply-To"][0], "help@example.org");
    assert_eq!(headers["Auto-Submitted"][0], "auto-generated");
    assert_eq!(
        headers["Message-ID"][0],
        format!("<{id}@localhost.localdomain>")
    );
    let page = host.get(&format!(
        "/mail/catcher/{}?view=text",
        mail["ID"].as_str().expect("an id")
    ));
    let page = page.send().await.expect_status(200).text();
    assert!(page.contains("Bestätige deine Adresse für nself"), "{page}");
    assert!(page.contains("Hallo Ada,"), "{page}");
    assert!(page.contains("verify?ticket=1&amp;x=2"), "{page}");
    host.stop().await;
}

#[tokio::test]
async fn a_mail_is_on_its_way_at_once() {
    let host = catching().await;
    // The first one fills the pools.
    let (id, _) = send(&host, &plain("ada@example.org")).await;
    reaches(&host, &id, "sent").await;
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let began = Instant::now();
        let (id, _) = send(&host, &plain("ada@example.org")).await;
        reaches(&host, &id, "sent").await;
        fastest = fastest.min(began.elapsed());
    }
    assert!(fastest < Duration::from_millis(100), "{fastest:?}");
    host.stop().await;
}

#[tokio::test]
async fn two_calls_with_one_key_are_one_mail_even_at_the_same_time() {
    let host = catching().await;
    let mut mail = plain("ada@example.org");
    mail["idempotency_key"] = json!("auth:verify:7");
    let calls = (0..8).map(|_| send(&host, &mail));
    let answers = future::join_all(calls).await;
    let queued = answers.iter().filter(|(_, status)| status == "queued");
    assert_eq!(queued.count(), 1, "{answers:?}");
    let duplicates = answers.iter().filter(|(_, status)| status == "duplicate");
    assert_eq!(duplicates.count(), 7, "{answers:?}");
    let first = &answers[0].0;
    assert!(answers.iter().all(|(id, _)| id == first), "{answers:?}");
    reaches(&host, first, "sent").await;
    let (_, status) = send(&host, &mail).await;
    assert_eq!(status, "duplicate", "also when the first one was sent");
    mail["idempotency_key"] = json!("auth:verify:8");
    let (id, _) = send(&host, &mail).await;
    reaches(&host, &id, "sent").await;
    caught(&host, 2).await;
    host.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_mail_is_refused_and_nothing_is_queued() {
    let host = catching().await;
    let with = |key: &str, value: Value| {
        let mut mail = plain("ada@example.org");
        mail[key] = value;
        mail
    };
    let template = |name: &str, variables: Value| json!({"to": "ada@example.org", "template": name, "variables": variables});
    let refused = [
        (
            with("to", json!("ada@example.org\r\nBcc: all@example.org")),
            "MAIL_ADDRESS",
        ),
        (with("to", json!("ada")), "MAIL_ADDRESS"),
        (with("to", json!("")), "MAIL_ADDRESS"),
        (
            with("from", json!("Us\nX: y <us@example.org>")),
            "MAIL_ADDRESS",
        ),
        (with("reply_to", json!("a@b.c, d@e.f")), "MAIL_ADDRESS"),
        (
            with("subject", json!("Hello\r\nBcc: all@example.org")),
            "MAIL_SUBJECT",
        ),
        (with("subject", json!(" ")), "MAIL_SUBJECT"),
        (with("subject", json!("a".repeat(201))), "MAIL_SUBJECT"),
        (with("text", json!("a\u{0}b")), "MAIL_CONTENT"),
        (with("text", json!("a".repeat(600 * 1024))), "MAIL_CONTENT"),
        (with("template", json!("auth/otp")), "MAIL_CONTENT"),
        (json!({"to": "ada@example.org"}), "MAIL_CONTENT"),
        (with("idempotency_key", json!("")), "MAIL_IDEMPOTENCY_KEY"),
        (
            with("idempotency_key", json!("a".repeat(201))),
            "MAIL_IDEMPOTENCY_KEY",
        ),
        (with("colour", json!("red")), "CAPABILITY_PAYLOAD"),
        (json!([]), "CAPABILITY_PAYLOAD"),
        (json!({"subject": "a", "text": "b"}), "CAPABILITY_PAYLOAD"),
        (template("auth/nothing", json!({})), "MAIL_TEMPLATE_UNKNOWN"),
        (
            template("auth/magic-link", json!({})),
            "MAIL_VARIABLE_MISSING",
        ),
        (
            template(
                "auth/magic-link",
                json!({"link": "javascript:alert(1)", "expires_minutes": 5}),
            ),
            "MAIL_LINK",
        ),
        (
            template(
                "auth/invitation",
                json!({"link": "https://a", "expires_minutes": 5, "inviter": "Eve\r\nBcc: all@example.org", "family": "F"}),
            ),
            "MAIL_SUBJECT",
        ),
    ];
    for (mail, code) in refused {
        let refusal = call(&host, "send", &mail).await;
        let refusal = refusal.expect_err("it is no mail");
        assert_eq!((refusal.status, &*refusal.code), (422, code), "{mail}");
        assert!(!refusal.message.is_empty(), "{mail}");
    }
    let missing = call(&host, "send", &template("auth/magic-link", json!({}))).await;
    let missing = missing.expect_err("variables are missing");
    assert_eq!(
        missing.details["missing"],
        json!(["expires_minutes", "link"])
    );
    let unknown = call(&host, "shout", &json!({})).await;
    assert_eq!(unknown.expect_err("no method").code, "MAIL_METHOD");
    let nothing = json!({"id": "01920000-0000-7000-8000-000000000000"});
    let nothing = call(&host, "status", &nothing).await;
    assert_eq!(nothing.expect_err("no mail").code, "MAIL_NOT_FOUND");
    let sql = host.sql().await;
    let count = sql
        .query_one("select count(*) from mail.messages", &[])
        .await;
    let count: i64 = count.expect("mails can be counted").get(0);
    assert_eq!(count, 0);
    drop(sql);
    host.stop().await;
}

#[tokio::test]
async fn an_address_on_the_list_gets_no_mail_in_any_case_of_its_letters() {
    let host = catching().await;
    let add = host.post("/mail/suppressions").operator();
    let add = add.json(&json!({"address": "Ada@Example.org", "detail": "asked for it"}));
    let _ = add.send().await.expect_status(201);
    let (id, status) = send(&host, &plain("ADA@example.org")).await;
    assert_eq!(status, "suppressed");
    assert_eq!(progress(&host, &id).await["status"], "suppressed");
    let (other, status) = send(&host, &plain("bob@example.org")).await;
    assert_eq!(status, "queued");
    reaches(&host, &other, "sent").await;
    let to = &caught(&host, 1).await[0]["Raw"]["To"];
    assert_eq!(*to, json!(["bob@example.org"]));
    host.stop().await;
}

#[tokio::test]
async fn what_a_mail_said_is_forgotten_once_it_was_sent() {
    let host = catching().await;
    let (id, _) = send(&host, &plain("ada@example.org")).await;
    reaches(&host, &id, "sent").await;
    let sql = host.sql().await;
    let left = "select count(*) from mail.messages where body_text is null and body_html is null";
    let left = sql
        .query_one(left, &[])
        .await
        .expect("mails can be counted");
    assert_eq!(left.get::<_, i64>(0), 1);
    drop(sql);
    host.stop().await;
}

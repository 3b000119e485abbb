//! What is secret is in no log, however much is logged: neither what mails say, nor whom they go to, nor how one logs in.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use lettre::{Message, SmtpTransport, Transport, transport::smtp::authentication::Credentials};
use nself_plugin_testkit::{TestHost, TestHostBuilder, eventually, within};
use serde_json::{Value, json};

use crate::{
    smtp_server::{Mood, SmtpServer},
    stage::{builder, sending_to, smtp_port},
};

const TALKATIVE: &str = "[log]\nlevel = \"trace\"\nformat = \"json\"";

const PASSWORD: &str = "the-password-of-the-log";
/// What somebody else's program logs in by.
const ANOTHER: &str = "the-password-of-another-program";
const LINK: &str = "https://app.example/reset?token=a-token-of-the-log";
const SUBJECT: &str = "A subject of the log";

const PEOPLE: [&str; 5] = ["ada", "bob", "cleo", "dan", "eve"];

fn address(name: &str) -> String {
    format!("{name}.of.the.log@example.org")
}

/// A mail with a link that opens an account.
fn letter(to: &str) -> Value {
    json!({"to": to, "subject": SUBJECT, "text": format!("Follow {LINK} soon.")})
}

async fn post(host: &TestHost, letter: &Value) -> String {
    let sql = host.sql().await;
    let asked = "select mail.post($1::text::jsonb)::text";
    let row = sql.query_one(asked, &[&letter.to_string()]).await;
    row.expect("it is taken").get(0)
}

async fn reaches(host: &TestHost, id: &str, what: &str, condition: &str) {
    let sql = host.sql().await;
    let asked = format!("select from mail.messages where id::text = $1 and {condition}");
    eventually(&format!("a mail that {what}"), async || {
        let found = sql.query(&asked, &[&id]).await.expect("mails are listed");
        (!found.is_empty()).then_some(())
    })
    .await;
}

async fn operate(host: &TestHost, path: &str, body: &Value) {
    let request = host.post(path).operator();
    let answer = request.json(body).send().await;
    assert!(answer.status < 500, "{path}: {}", answer.text());
}

async fn start(builder: TestHostBuilder) -> TestHost {
    builder.program().config(TALKATIVE).start().await
}

/// What must stand in no line: also as it goes over the wire, and with a part of it cut off.
fn secrets() -> Vec<String> {
    let logins = [("us", PASSWORD), ("any", ANOTHER)]
        .map(|(user, password)| BASE64_STANDARD.encode(format!("\0{user}\0{password}")));
    let encoded = [PASSWORD, ANOTHER].map(|password| BASE64_STANDARD.encode(password));
    let said = [PASSWORD, ANOTHER, "a-token-of-the-log", SUBJECT];
    let said = said.map(str::to_owned).into_iter();
    let people = PEOPLE.into_iter().flat_map(|name| {
        let address = address(name);
        [address.replace('@', "%40"), address]
    });
    let all = said.chain(logins).chain(encoded).chain(people);
    all.chain([TestHost::OPERATOR_KEY.to_owned()]).collect()
}

/// The log, once everything up to now stands in it, without any of the secrets.
async fn check(host: &TestHost) -> String {
    let marked = host.get("/mail/status").operator();
    let marked = marked.header("x-request-id", "the-last-request");
    let _ = marked.send().await.expect_status(200);
    let log = eventually("the log is written", async || {
        let log = host.log();
        log.contains("the-last-request").then_some(log)
    })
    .await;
    let secrets = secrets();
    for line in log.lines() {
        let found: Vec<&String> = secrets
            .iter()
            .filter(|one| line.contains(&***one))
            .collect();
        assert!(found.is_empty(), "{found:?} in {line}");
    }
    assert!(log.contains("nself::access"), "it is a log");
    log
}

#[tokio::test]
async fn a_delivery_that_goes_well_or_wrong_logs_neither_address_nor_text_nor_password() {
    let server = SmtpServer::start().await;
    let host = sending_to(server.port())
        .config("[plugins.mail.config]\nsmtp_user = \"us\"\nretry_first_seconds = 1\nretry_last_seconds = 1")
        .secret("smtp-password", PASSWORD);
    let host = start(host).await;
    server.set(Mood::Login("535 5.7.8 the-password-of-the-log is wrong"));
    let ada = post(&host, &letter(&address("ada"))).await;
    reaches(&host, &ada, "was put off", "last_error like '%535%'").await;
    server.set(Mood::Good);
    reaches(&host, &ada, "was sent", "state = 'sent'").await;
    // A server says again whom it does not know.
    server.set(Mood::Recipient(
        "550 5.1.1 <bob.of.the.log@example.org>: no such mailbox",
    ));
    let bob = post(&host, &letter(&address("bob"))).await;
    reaches(&host, &bob, "was refused", "state = 'failed'").await;
    let again = post(&host, &letter(&address("bob"))).await;
    reaches(&host, &again, "was not sent", "state = 'suppressed'").await;
    server.set(Mood::Good);
    let wrong =
        json!({"to": address("cleo"), "template": "auth/nothing", "variables": {"link": LINK}});
    let wrong = post(&host, &wrong).await;
    reaches(&host, &wrong, "was never written", "state = 'failed'").await;

    operate(&host, "/mail/test", &json!({"to": address("cleo")})).await;
    operate(
        &host,
        "/mail/test",
        &json!({"to": address("cleo"), "text": LINK}),
    )
    .await;
    operate(
        &host,
        "/mail/suppressions",
        &json!({"address": address("dan")}),
    )
    .await;
    let remove = format!("/mail/suppressions/{}", address("dan").replace('@', "%40"));
    let removed = host.delete(&remove).operator().send().await;
    let _ = removed.expect_status(204);
    let search = format!("/mail/messages?to={}", address("eve"));
    let _ = host.get(&search).operator().send().await.expect_status(200);
    operate(&host, &format!("/mail/messages/{bob}/retry"), &json!({})).await;
    let outage = host.database_away().await;
    let add = host.post("/mail/suppressions").operator();
    let add = add.json(&json!({"address": address("eve")})).send().await;
    let _ = add.expect_status(503);
    outage.end().await;
    eventually("the database is back", async || {
        let status = host.get("/mail/status").operator().send().await;
        (status.status == 200).then_some(())
    })
    .await;
    let log = check(&host).await;
    for told in ["mail sent", "mail has failed", "does not take the login"] {
        assert!(log.contains(told), "{told}");
    }
    host.stop().await;
}

#[tokio::test]
async fn the_catcher_logs_neither_logins_nor_mails() {
    let host = start(builder()).await;
    let port = smtp_port(&host).await;
    let mail = Message::builder()
        .from(address("ada").parse().expect("an address"))
        .to(address("bob").parse().expect("an address"))
        .subject(SUBJECT)
        .body(format!("Follow {LINK} soon."))
        .expect("a mail");
    let sent = tokio::task::spawn_blocking(move || {
        let transport = SmtpTransport::builder_dangerous("127.0.0.1")
            .port(port)
            .credentials(Credentials::new("any".to_owned(), ANOTHER.to_owned()))
            .build();
        transport.send(&mail)
    });
    let sent = within("the dialogue", sent).await.expect("a thread");
    sent.expect("the catcher takes it");
    let caught = post(&host, &letter(&address("cleo"))).await;
    reaches(&host, &caught, "was caught", "state = 'sent'").await;
    for query in [
        address("bob"),
        address("eve"),
        "a-token-of-the-log".to_owned(),
    ] {
        for kind in ["to", "from", "containing"] {
            let path = format!("/api/v2/search?kind={kind}&query={query}");
            let _ = host.get(&path).send().await.expect_status(200);
        }
    }
    let page = host.get("/api/v2/messages").send().await.expect_status(200);
    let id = page.json()["items"][0]["ID"].take();
    let id = id.as_str().expect("an id");
    for path in [
        format!("/api/v1/messages/{id}"),
        format!("/api/v1/messages/{id}/download"),
    ] {
        let _ = host.get(&path).send().await.expect_status(200);
    }
    let log = check(&host).await;
    assert!(log.contains("mail sent"), "a mail went into the catcher");
    host.stop().await;
}

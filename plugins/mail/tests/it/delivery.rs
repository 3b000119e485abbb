//! The way to an SMTP server: retries, refusals, workers that die.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use nself_plugin_testkit::{TestClock, TestHost, eventually};
use serde_json::json;

use crate::{
    smtp_server::{Encryption, Mood, SmtpServer},
    stage::{is_put_off, metric, plain, progress, reaches, send, sending_to},
};

/// Some day in 2026, microseconds since the epoch.
const START_US: i64 = 1_780_000_000_000_000;

fn clock() -> Arc<TestClock> {
    Arc::new(TestClock::new(START_US))
}

/// Moves the clock on until the mail is in that state.
async fn reaches_later(host: &TestHost, clock: &TestClock, id: &str, state: &str) {
    eventually(&format!("{id} being {state}"), async || {
        clock.advance(Duration::from_secs(2));
        (progress(host, id).await["status"] == state).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_mail_reaches_the_server_with_its_envelope_and_headers() {
    let server = SmtpServer::start().await;
    let host = sending_to(server.port()).start().await;
    let mut mail = plain("Jürgen <j@example.org>");
    mail["html"] = json!("<p>A text.</p>");
    mail["subject"] = json!("Grüße");
    let (id, _) = send(&host, &mail).await;
    reaches(&host, &id, "sent").await;
    let received = &server.receives(1).await[0];
    assert!(received.from.contains("<us@example.org>"), "{received:?}");
    assert!(received.to.contains("<j@example.org>"), "{received:?}");
    assert_eq!(received.header("Message-ID"), format!("<{id}@example.org>"));
    assert_eq!(received.header("From"), "Us <us@example.org>");
    assert!(received.header("Subject").starts_with("=?utf-8?"));
    assert!(received.data.contains("multipart/alternative"));
    assert_eq!(received.login, None, "there is no password");
    host.stop().await;
}

#[tokio::test]
async fn with_the_server_down_nothing_fails_and_mails_go_out_when_it_is_back() {
    let server = SmtpServer::start().await;
    let port = server.port();
    drop(server);
    let clock = clock();
    let host = sending_to(port).clock(Arc::clone(&clock)).start().await;
    let (id, status) = send(&host, &plain("ada@example.org")).await;
    assert_eq!(status, "queued");
    let tried = is_put_off(&host, &id, "").await;
    assert_eq!(tried["attempts"], 1);
    let server = SmtpServer::start_at(port, Encryption::Never).await;
    reaches_later(&host, &clock, &id, "sent").await;
    assert_eq!(server.receives(1).await.len(), 1);
    assert!(metric(&host, "retried_total").await >= 1.0);
    host.stop().await;
}

#[tokio::test]
async fn a_refusal_for_now_is_tried_again_and_one_for_ever_is_not() {
    let server = SmtpServer::start().await;
    let clock = clock();
    let host = sending_to(server.port())
        .clock(Arc::clone(&clock))
        .start()
        .await;
    server.set(Mood::Recipient("451 4.7.1 greylisted"));
    let (id, _) = send(&host, &plain("ada@example.org")).await;
    is_put_off(&host, &id, "greylisted").await;
    server.set(Mood::Good);
    reaches_later(&host, &clock, &id, "sent").await;
    server.set(Mood::Recipient("550 5.7.1 we do not like you"));
    let (id, _) = send(&host, &plain("bob@example.org")).await;
    let failed = reaches(&host, &id, "failed").await;
    assert_eq!(failed["attempts"], 1);
    server.set(Mood::Good);
    let (id, status) = send(&host, &plain("bob@example.org")).await;
    assert_eq!(status, "queued", "the address is not to blame");
    reaches(&host, &id, "sent").await;
    host.stop().await;
}

#[tokio::test]
async fn an_address_without_a_mailbox_gets_no_more_mail() {
    let server = SmtpServer::start().await;
    let host = sending_to(server.port()).start().await;
    server.set(Mood::Recipient("550 5.1.1 no such user here"));
    let (id, _) = send(&host, &plain("Gone@example.org")).await;
    reaches(&host, &id, "failed").await;
    server.set(Mood::Good);
    let (_, status) = send(&host, &plain("gone@example.org")).await;
    assert_eq!(status, "suppressed");
    let list = host.get("/mail/suppressions").operator().send().await;
    let list = list.expect_status(200).data();
    assert_eq!(list[0]["address"], "gone@example.org");
    assert_eq!(list[0]["reason"], "bounce");
    let detail = list[0]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("no such user"), "{detail}");
    host.stop().await;
}

#[tokio::test]
async fn a_mail_is_given_up_after_the_last_attempt_and_an_operator_can_send_it_again() {
    let server = SmtpServer::start().await;
    let clock = clock();
    let host = sending_to(server.port())
        .config("[plugins.mail.config]\nattempts_max = 2")
        .clock(Arc::clone(&clock))
        .start()
        .await;
    server.set(Mood::Recipient("451 4.7.1 greylisted"));
    let (id, _) = send(&host, &plain("ada@example.org")).await;
    reaches_later(&host, &clock, &id, "failed").await;
    let failed = progress(&host, &id).await;
    assert_eq!(failed["attempts"], 2);
    let error = failed["last_error"].as_str().unwrap_or_default();
    assert!(error.starts_with("given up after 2 attempts"), "{error}");
    server.set(Mood::Good);
    let retry = host.post(&format!("/mail/messages/{id}/retry")).operator();
    let _ = retry.send().await.expect_status(204);
    reaches(&host, &id, "sent").await;
    assert!(server.receives(1).await[0].data.contains("A text."));
    host.stop().await;
}

#[tokio::test]
async fn a_mail_whose_worker_died_is_sent_by_another_replica_with_the_same_message_id() {
    let server = SmtpServer::start().await;
    let dying = sending_to(server.port()).clock(clock()).start().await;
    // The server has the mail and the worker never learns it: as if it were killed there.
    server.set(Mood::Silent);
    let (id, _) = send(&dying, &plain("ada@example.org")).await;
    server.receives(1).await;
    assert_eq!(progress(&dying, &id).await["status"], "sending");
    server.set(Mood::Good);
    let late = clock();
    let other = dying.beside().clock(Arc::clone(&late)).start().await;
    let (second, _) = send(&other, &plain("bob@example.org")).await;
    reaches(&other, &second, "sent").await;
    assert_eq!(server.received().len(), 2, "the lease still holds");
    late.advance(Duration::from_secs(301));
    server.receives(3).await;
    let sent = reaches(&other, &id, "sent").await;
    assert_eq!(sent["attempts"], 2);
    let received = server.received();
    assert_eq!(
        received[0].header("Message-ID"),
        received[2].header("Message-ID")
    );
    // What the first worker learns too late changes nothing.
    server.hang_up();
    dying.stop().await;
    assert_eq!(progress(&other, &id).await["status"], "sent");
    other.stop().await;
}

#[tokio::test]
async fn a_row_that_a_killed_host_left_is_taken_up() {
    let server = SmtpServer::start().await;
    let host = sending_to(server.port()).start().await;
    let sql = host.sql().await;
    let left = "insert into mail.messages (state, address, recipient, sender, subject, body_text, attempts, created_at, queued_at, due_at) \
        values ('sending', 'a@example.org', 'a@example.org', 'us@example.org', 'Left', 'over', 1, now(), now(), now() - interval '1 second') returning id::text";
    let id: String = sql.query_one(left, &[]).await.expect("a row").get(0);
    let sent = reaches(&host, &id, "sent").await;
    assert_eq!(sent["attempts"], 2);
    drop(sql);
    host.stop().await;
}

#[tokio::test]
async fn two_replicas_send_every_mail_once() {
    let server = SmtpServer::start().await;
    let first = sending_to(server.port()).start().await;
    let second = first.beside().start().await;
    let mut ids = Vec::new();
    for number in 0..20 {
        let host = if number % 2 == 0 { &first } else { &second };
        ids.push(
            send(host, &plain(&format!("a{number}@example.org")))
                .await
                .0,
        );
    }
    for id in &ids {
        reaches(&first, id, "sent").await;
    }
    let received = server.received();
    assert_eq!(received.len(), 20);
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_replica_with_its_hands_full_tells_the_others() {
    let server = SmtpServer::start().await;
    let busy = sending_to(server.port())
        .config("[plugins.mail.config]\ndeliveries_at_once = 1\nsmtp_timeout_seconds = 20")
        .start()
        .await;
    let idle = busy.beside().start().await;
    server.set(Mood::Silent);
    send(&busy, &plain("ada@example.org")).await;
    server.receives(1).await;
    server.set(Mood::Good);
    let mut slowest = Duration::ZERO;
    for _ in 0..3 {
        let began = Instant::now();
        let (id, _) = send(&busy, &plain("bob@example.org")).await;
        reaches(&idle, &id, "sent").await;
        slowest = slowest.max(began.elapsed());
    }
    // The sweep would have found each of them as well, but only five seconds after the one before.
    assert!(slowest < Duration::from_secs(4), "{slowest:?}");
    server.hang_up();
    busy.stop().await;
    idle.stop().await;
}

#[tokio::test]
async fn the_password_is_used_and_a_login_that_is_refused_costs_no_mail() {
    let server = SmtpServer::start().await;
    let clock = clock();
    let host = sending_to(server.port())
        .config("[plugins.mail.config]\nsmtp_user = \"us\"")
        .secret("smtp-password", "correct horse")
        .clock(Arc::clone(&clock))
        .start()
        .await;
    server.set(Mood::Login("535 5.7.8 wrong password"));
    let (id, _) = send(&host, &plain("ada@example.org")).await;
    is_put_off(&host, &id, "535").await;
    server.set(Mood::Good);
    reaches_later(&host, &clock, &id, "sent").await;
    let received = &server.receives(1).await[0];
    // RFC 4616: zero, user, zero, password.
    assert_eq!(received.login.as_deref(), Some("AHVzAGNvcnJlY3QgaG9yc2U="));
    host.stop().await;
}

#[tokio::test]
async fn mails_share_a_connection_and_one_that_has_gone_costs_no_attempt() {
    let server = SmtpServer::start().await;
    let host = sending_to(server.port()).start().await;
    for to in ["ada@example.org", "bob@example.org", "cem@example.org"] {
        let (id, _) = send(&host, &plain(to)).await;
        reaches(&host, &id, "sent").await;
    }
    let before = server.dialogues();
    assert!(before < 3, "{before} connections for three mails");
    server.hang_up();
    let (id, _) = send(&host, &plain("dan@example.org")).await;
    let sent = reaches(&host, &id, "sent").await;
    assert_eq!(sent["attempts"], 1);
    assert_eq!(server.dialogues(), before + 1);
    host.stop().await;
}

#[tokio::test]
async fn a_connection_is_given_up_once_the_server_has_refused_a_mail() {
    let server = SmtpServer::start().await;
    let host = sending_to(server.port()).start().await;
    server.set(Mood::Recipient("550 5.7.1 we do not like you"));
    let (id, _) = send(&host, &plain("ada@example.org")).await;
    reaches(&host, &id, "failed").await;
    server.set(Mood::Good);
    let (id, _) = send(&host, &plain("ada@example.org")).await;
    reaches(&host, &id, "sent").await;
    assert_eq!(server.dialogues(), 2);
    host.stop().await;
}

#[tokio::test]
async fn a_line_that_is_a_dot_does_not_end_a_mail() {
    let server = SmtpServer::start().await;
    let host = sending_to(server.port()).start().await;
    let mut mail = plain("ada@example.org");
    mail["text"] = json!("One\n.\n.two\nMAIL FROM:<evil@example.org>\n");
    let (id, _) = send(&host, &mail).await;
    reaches(&host, &id, "sent").await;
    let received = server.receives(1).await;
    assert_eq!(received.len(), 1);
    let text = "One\r\n..\r\n..two\r\nMAIL FROM:<evil@example.org>\r\n";
    assert!(received[0].data.contains(text), "{:?}", received[0].data);
    host.stop().await;
}

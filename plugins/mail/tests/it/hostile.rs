//! Servers that speak no SMTP, or too much of it, and one who speaks before TLS to be heard behind it.

use nself_plugin_testkit::TestHostBuilder;

use crate::{
    script::{ScriptedServer, Then},
    stage::{is_put_off, plain, reaches, send, sending_to},
};

const GREETING: &str = "220 test\r\n";
const HELLO: &str = "250-test\r\n250-8BITMIME\r\n250 AUTH LOGIN\r\n";
const YES: &str = "250 OK\r\n";

/// More than a client has read when it knows what it has to know: what lies between the two sockets, generously.
const SENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A mail is put off for that reason, and the server is left alone.
async fn check(says: &[&'static str], then: Then, reason: &str) {
    let server = ScriptedServer::start(says, then).await;
    let host = sending_to(server.port()).start().await;
    let (id, _) = send(&host, &plain("ada@example.org")).await;
    is_put_off(&host, &id, reason).await;
    server.is_left().await;
    assert!(
        server.sent() < SENT_BYTES_MAX,
        "{reason}: {}",
        server.sent()
    );
    host.stop().await;
}

#[tokio::test]
async fn a_line_that_does_not_end_is_not_read_to_its_end() {
    let says = [GREETING, "250-"];
    check(
        &says,
        Then::Repeat(b"aaaaaaaa"),
        "line of a reply is too long",
    )
    .await;
}

#[tokio::test]
async fn a_reply_of_a_gibibyte_is_not_read_to_its_end() {
    let says = [GREETING, "250-test\r\n"];
    check(&says, Then::Repeat(b"250-more\r\n"), "a reply is too long").await;
}

#[tokio::test]
async fn a_reply_whose_lines_disagree_is_none() {
    let says = [GREETING, "250-test\r\n550 no\r\n"];
    check(&says, Then::Listen, "different codes").await;
}

#[tokio::test]
async fn what_is_no_smtp_is_no_smtp() {
    let says = ["HTTP/1.1 400 Bad Request\r\n\r\n"];
    check(&says, Then::Listen, "a line is no reply").await;
    let says = [GREETING, HELLO, "354 go on\r\n"];
    check(&says, Then::Listen, "does not suit the question").await;
}

#[tokio::test]
async fn a_server_that_answers_what_it_was_not_asked_is_left() {
    let says = ["220 test\r\n250 and hello\r\n"];
    check(&says, Then::Listen, "was not asked").await;
    let says = [GREETING, HELLO, "250 OK\r\n250 OK\r\n250 OK\r\n"];
    check(&says, Then::Listen, "was not asked").await;
}

#[tokio::test]
async fn a_mail_is_not_sent_to_who_did_not_ask_for_its_content() {
    let server = ScriptedServer::start(&[GREETING, HELLO, YES, YES, YES], Then::Listen).await;
    let host = sending_to(server.port()).start().await;
    let (id, _) = send(&host, &plain("ada@example.org")).await;
    is_put_off(&host, &id, "does not suit the question").await;
    server.is_left().await;
    let heard = server.heard();
    assert!(heard.contains("DATA\r\n"), "{heard}");
    assert!(!heard.contains("Subject"), "{heard}");
    host.stop().await;
}

#[tokio::test]
async fn a_server_that_goes_in_the_middle_of_a_mail_gets_it_again() {
    let server =
        ScriptedServer::start(&[GREETING, HELLO, YES, YES, "354 go on\r\n"], Then::HangUp).await;
    let host = sending_to(server.port()).start().await;
    let mut mail = plain("ada@example.org");
    mail["text"] = "A long text. ".repeat(30_000).into();
    let (id, _) = send(&host, &mail).await;
    is_put_off(&host, &id, "").await;
    host.stop().await;
}

#[tokio::test]
async fn a_mail_that_the_server_has_no_extension_for_waits_for_one_that_has() {
    let server = ScriptedServer::start(&[GREETING, "250 test\r\n"], Then::Listen).await;
    let host = sending_to(server.port()).start().await;
    let (id, _) = send(&host, &plain("jürgen@example.org")).await;
    is_put_off(&host, &id, "does not offer SMTPUTF8").await;
    host.stop().await;
}

fn encrypted(port: u16) -> TestHostBuilder {
    sending_to(port)
        .config("[plugins.mail.config]\nsmtp_tls = \"starttls\"\nsmtp_user = \"us\"")
        .secret("smtp-password", "correct horse")
}

/// What was injected is not taken for what a server says under TLS, and nothing is sent to who injected it.
async fn check_injected(says: &[&'static str], reason: &str) {
    let server = ScriptedServer::start(says, Then::Listen).await;
    let host = encrypted(server.port()).start().await;
    let (id, _) = send(&host, &plain("ada@example.org")).await;
    is_put_off(&host, &id, reason).await;
    server.is_left().await;
    let heard = server.heard();
    for secret in ["AUTH", "MAIL", "ada@"] {
        assert!(!heard.contains(secret), "{heard}");
    }
    host.stop().await;
}

#[tokio::test]
async fn nobody_speaks_before_tls_to_be_heard_behind_it() {
    let offer = "250-test\r\n250 STARTTLS\r\n";
    let injected = "220 go on\r\n250-evil\r\n250 AUTH PLAIN\r\n235 OK\r\n250 OK\r\n250 OK\r\n";
    check_injected(&[GREETING, offer, injected], "was not asked").await;
    // Behind the beginning of the handshake, when the client has found nothing behind the consent.
    let says = [
        GREETING,
        offer,
        "220 go on\r\n",
        "250-evil\r\n250 AUTH PLAIN\r\n",
    ];
    check_injected(&says, "EGRESS_TLS_FAILED").await;
    let says = [GREETING, "250-test\r\n250 AUTH PLAIN\r\n"];
    check_injected(&says, "does not offer STARTTLS").await;
}

#[tokio::test]
async fn a_server_that_knows_only_login_is_told_user_and_password_one_by_one() {
    let says = [
        GREETING,
        HELLO,
        "334 VXNlcm5hbWU6\r\n",
        "334 UGFzc3dvcmQ6\r\n",
        "235 OK\r\n",
        YES,
        YES,
        "354 go on\r\n",
        YES,
    ];
    let server = ScriptedServer::start(&says, Then::Listen).await;
    let host = sending_to(server.port())
        .config("[plugins.mail.config]\nsmtp_user = \"us\"")
        .secret("smtp-password", "correct horse")
        .start()
        .await;
    let (id, _) = send(&host, &plain("ada@example.org")).await;
    reaches(&host, &id, "sent").await;
    let heard = server.heard();
    let login = "AUTH LOGIN\r\ndXM=\r\nY29ycmVjdCBob3JzZQ==\r\nMAIL FROM:<us@example.org>\r\n";
    assert!(heard.contains(login), "{heard}");
    host.stop().await;
}

//! The catcher: SMTP in, MailHog's API and a page out, for this machine only.

use lettre::{
    Message, SmtpTransport, Transport,
    message::{Attachment, MultiPart, SinglePart, header::ContentType},
    transport::smtp::authentication::Credentials,
};
use nself_plugin_testkit::{TestHost, within};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    smtp_server::SmtpServer,
    stage::{builder, catching, caught, plain, reaches, send, sending_to, smtp_port},
};

/// A mail with text, HTML and an attachment.
fn message(subject: &str) -> Message {
    let alternative = MultiPart::alternative_plain_html(
        "Viele Grüße".to_owned(),
        "<p>Viele Grüße</p>".to_owned(),
    );
    let attachment = Attachment::new("list.csv".to_owned());
    let kind = ContentType::parse("text/csv").expect("a type");
    let attachment: SinglePart = attachment.body("a,b\r\n".to_owned(), kind);
    Message::builder()
        .from("Shop <shop@example.com>".parse().expect("an address"))
        .to("Ada <ada@example.org>".parse().expect("an address"))
        .cc("bob@example.org".parse().expect("an address"))
        .subject(subject)
        .multipart(
            MultiPart::mixed()
                .multipart(alternative)
                .singlepart(attachment),
        )
        .expect("a mail")
}

/// Sends it as any program would: with a login that nobody knows.
async fn deliver(host: &TestHost, message: Message) {
    let port = smtp_port(host).await;
    let sent = tokio::task::spawn_blocking(move || {
        let transport = SmtpTransport::builder_dangerous("127.0.0.1")
            .port(port)
            .credentials(Credentials::new("any".to_owned(), "body".to_owned()))
            .build();
        transport.send(&message)
    });
    let sent = within("the dialogue", sent).await.expect("a thread");
    sent.expect("the catcher takes it");
}

#[tokio::test]
async fn a_stock_client_sends_and_mailhogs_api_shows_it() {
    let host = catching().await;
    deliver(&host, message("Grüße")).await;
    let page = host.get("/api/v2/messages").send().await.expect_status(200);
    let page = page.json();
    assert_eq!(
        (&page["total"], &page["count"], &page["start"]),
        (&json!(1), &json!(1), &json!(0))
    );
    let mail = &page["items"][0];
    let keys: Vec<&String> = mail.as_object().expect("an object").keys().collect();
    assert_eq!(
        keys,
        ["Content", "Created", "From", "ID", "MIME", "Raw", "To"]
    );
    let path = |mailbox: &str, domain: &str| json!({"Relays": null, "Mailbox": mailbox, "Domain": domain, "Params": ""});
    assert_eq!(mail["From"], path("shop", "example.com"));
    assert_eq!(
        mail["To"],
        json!([path("ada", "example.org"), path("bob", "example.org")])
    );
    let content = &mail["Content"];
    assert_eq!(
        content["Headers"]["Subject"],
        json!(["=?utf-8?b?R3LDvMOfZQ==?="])
    );
    assert_eq!(
        content["Headers"]["Return-Path"],
        json!(["<shop@example.com>"])
    );
    assert_eq!(content["MIME"], Value::Null);
    let size = mail["Raw"]["Data"].as_str().map_or(0, str::len);
    assert_eq!(content["Size"], size);
    let parts = mail["MIME"]["Parts"].as_array().expect("it has parts");
    assert_eq!(parts.len(), 2);
    assert_eq!(parts[0]["MIME"]["Parts"].as_array().map(Vec::len), Some(2));
    assert!(
        parts[1]["Headers"]["Content-Disposition"][0]
            .as_str()
            .is_some_and(|value| value.contains("list.csv"))
    );
    let raw = &mail["Raw"];
    assert_eq!(raw["From"], "shop@example.com");
    assert_eq!(raw["To"], json!(["ada@example.org", "bob@example.org"]));
    assert!(raw["Helo"].as_str().is_some_and(|helo| !helo.is_empty()));
    assert!(
        raw["Data"]
            .as_str()
            .is_some_and(|data| data.starts_with("From: Shop <shop@example.com>\r\n"))
    );
    assert!(mail["Created"].as_str().is_some_and(|at| at.ends_with('Z')));
    host.stop().await;
}

#[tokio::test]
async fn caught_mails_are_listed_searched_downloaded_and_deleted() {
    let host = catching().await;
    for subject in ["one", "two", "three"] {
        deliver(&host, message(subject)).await;
    }
    let get = async |path: &str| host.get(path).send().await.expect_status(200);
    let subjects = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().expect("a page").iter();
        items
            .map(|mail| {
                mail["Content"]["Headers"]["Subject"][0]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    };
    let page = get("/api/v2/messages?start=1&limit=1").await.json();
    assert_eq!(subjects(&page), ["two"]);
    assert_eq!((&page["total"], &page["start"]), (&json!(3), &json!(1)));
    let rows = [
        ("kind=to&query=ADA@example", 3),
        ("kind=to&query=bob", 3),
        ("kind=to&query=shop", 0),
        ("kind=from&query=shop@example.com", 3),
        ("kind=containing&query=three", 1),
        ("kind=containing&query=Viele+Gr%C3%BC%C3%9Fe", 3),
        ("kind=containing&query=%25", 0),
    ];
    for (query, expected) in rows {
        let found = get(&format!("/api/v2/search?{query}")).await.json();
        assert_eq!(found["total"], expected, "{query}");
        assert_eq!(subjects(&found).len(), expected, "{query}");
    }
    let strange = host
        .get("/api/v2/search?kind=colour&query=red")
        .send()
        .await;
    assert_eq!(strange.status, 400);
    let all = get("/api/v1/messages").await.json();
    let id = all[0]["ID"].as_str().expect("an id").to_owned();
    let one = get(&format!("/api/v1/messages/{id}")).await.json();
    assert_eq!(one, all[0]);
    let file = get(&format!("/api/v1/messages/{id}/download")).await;
    assert_eq!(file.headers["content-type"], "message/rfc822");
    assert!(file.text().contains("Subject: three"));
    let delete = async |path: &str| host.delete(path).send().await.status;
    assert_eq!(delete(&format!("/api/v1/messages/{id}")).await, 200);
    assert_eq!(delete(&format!("/api/v1/messages/{id}")).await, 404);
    caught(&host, 2).await;
    assert_eq!(delete("/api/v1/messages").await, 200);
    caught(&host, 0).await;
    host.stop().await;
}

/// Says it in one piece; everything that was heard until the server closed.
async fn talk(port: u16, said: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("it listens");
    stream.write_all(said).await.expect("it reads");
    let mut heard = Vec::new();
    within("the end of the dialogue", stream.read_to_end(&mut heard))
        .await
        .expect("it answers");
    String::from_utf8(heard).expect("replies are text")
}

#[tokio::test]
async fn a_client_that_does_not_wait_for_answers_is_understood() {
    let host = builder()
        .config("[plugins.mail.config]\ncatcher_message_bytes_max = 2000")
        .start()
        .await;
    let port = smtp_port(&host).await;
    let mut said =
        b"EHLO me\r\nrubbish \x01\r\nMAIL FROM:<a@b> BODY=8BITMIME\r\nRCPT TO:<c@d>\r\nDATA\r\n\
        Subject: raw\r\n\r\n..stuffed\r\n\xc3\xbc\r\n.\r\n"
            .to_vec();
    said.extend_from_slice(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
    said.extend_from_slice(format!("{}\r\n.\r\nQUIT\r\n", "x".repeat(3_000)).as_bytes());
    let heard = talk(port, &said).await;
    let codes: Vec<&str> = heard
        .lines()
        .filter(|line| line.as_bytes().get(3) != Some(&b'-'))
        .map(|line| &line[..3])
        .collect();
    let expected = [
        "220", "250", "500", "250", "250", "354", "250", "250", "250", "354", "552", "221",
    ];
    assert_eq!(codes, expected, "{heard}");
    let mail = &caught(&host, 1).await[0];
    assert_eq!(mail["Raw"]["Data"], "Subject: raw\r\n\r\n.stuffed\r\nü\r\n");
    assert_eq!(mail["Raw"]["Helo"], "me");
    host.stop().await;
}

#[tokio::test]
async fn the_oldest_mails_go_when_there_are_too_many() {
    let host = builder()
        .config("[plugins.mail.config]\ncatcher_messages_max = 2")
        .start()
        .await;
    for subject in ["one", "two", "three"] {
        deliver(&host, message(subject)).await;
    }
    let left = caught(&host, 2).await;
    for (mail, subject) in left.iter().zip(["three", "two"]) {
        assert_eq!(mail["Content"]["Headers"]["Subject"][0], subject);
    }
    host.stop().await;
}

#[tokio::test]
async fn the_page_shows_mails_and_lets_their_html_do_nothing() {
    let host = catching().await;
    let empty = host.get("/mail/catcher").send().await.expect_status(200);
    assert!(empty.text().contains("No mail has been caught yet"));
    let front = host.get("/").send().await.expect_status(307);
    assert_eq!(front.headers["location"], "/mail/catcher");
    let mut mail = plain("ada@example.org");
    mail["subject"] = json!("<script>alert(1)</script>");
    mail["html"] =
        json!("<head></head><script>alert(1)</script><a href='https://example.org'>go</a>");
    let (id, _) = send(&host, &mail).await;
    reaches(&host, &id, "sent").await;
    let id = caught(&host, 1).await[0]["ID"].take();
    let id = id.as_str().expect("an id");
    let get = async |path: &str| host.get(path).send().await.expect_status(200);
    let list = get("/mail/catcher").await;
    assert!(
        list.text().contains("&lt;script&gt;alert(1)"),
        "{}",
        list.text()
    );
    assert!(!list.text().contains("<script>alert"), "{}", list.text());
    let policy = list.headers["content-security-policy"]
        .to_str()
        .expect("text");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let shown = get(&format!("/mail/catcher/{id}")).await.text();
    assert!(
        shown.contains("sandbox=\"allow-popups allow-popups-to-escape-sandbox\""),
        "{shown}"
    );
    assert!(!shown.contains("<script>alert"), "{shown}");
    let html = get(&format!("/mail/catcher/{id}/html")).await;
    let policy = html.headers["content-security-policy"]
        .to_str()
        .expect("text");
    assert!(
        policy.starts_with("sandbox allow-popups") && !policy.contains("allow-scripts"),
        "{policy}"
    );
    assert_eq!(html.headers["x-frame-options"], "SAMEORIGIN");
    assert!(html.text().contains("<base target=\"_blank\">"));
    let source = get(&format!("/mail/catcher/{id}?view=source")).await.text();
    assert!(source.contains("Message-ID:"), "{source}");
    let found = get("/mail/catcher?kind=to&query=nobody").await.text();
    assert!(found.contains("Nothing matches"), "{found}");
    for asset in ["catcher.js", "catcher.css"] {
        get(&format!("/mail/catcher/assets/{asset}")).await;
    }
    host.stop().await;
}

#[tokio::test]
async fn a_page_of_another_site_does_not_read_mails() {
    let host = catching().await;
    for (name, value) in [
        ("host", "rebound.example.org"),
        ("x-forwarded-for", "203.0.113.7"),
    ] {
        // The client writes its own `host` unless it is given one.
        let answer = host
            .get("/api/v2/messages")
            .header(name, value)
            .send()
            .await;
        assert_eq!(answer.status, 404, "{name}: {}", answer.text());
    }
    host.stop().await;
}

#[tokio::test]
async fn where_mails_are_sent_there_is_no_catcher() {
    let server = SmtpServer::start().await;
    let host = sending_to(server.port()).start().await;
    let (id, _) = send(&host, &plain("ada@example.org")).await;
    reaches(&host, &id, "sent").await;
    for path in [
        "/",
        "/mail/catcher",
        "/mail/catcher/assets/catcher.js",
        "/api/v2/messages",
        "/api/v2/search?kind=to&query=a",
        "/api/v1/messages",
    ] {
        let answer = host.get(path).send().await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (404, "NOT_FOUND"),
            "{path}"
        );
    }
    assert_eq!(host.delete("/api/v1/messages").send().await.status, 404);
    let status = host.get("/mail/status").operator().send().await.data();
    assert_eq!(status["delivery"], "smtp");
    assert_eq!(status["catcher_smtp_port"], Value::Null);
    host.stop().await;
}

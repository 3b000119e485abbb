//! What a caller says of itself and of us changes nothing.

use serde_json::json;

use crate::stage::{PASSWORD, Stage};

/// What a request may claim about where it was sent to.
const CLAIMS: [(&str, &str); 6] = [
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-proto", "https"),
    ("forwarded", "host=evil.example;proto=https"),
    ("x-original-host", "evil.example"),
    ("origin", "https://evil.example"),
    ("referer", "https://evil.example/auth/sign-in"),
];

#[tokio::test]
async fn links_in_mails_begin_with_the_configured_address_whatever_a_request_claims() {
    let stage = Stage::set().await;
    stage.person("ada@example.org").await;
    let account = json!({"email": "bob@example.org", "password": PASSWORD});
    let mailbox = json!({"email": "ada@example.org"});
    for (path, body) in [
        ("/auth/register", &account),
        ("/auth/password/forgot", &mailbox),
        ("/auth/magic-link/start", &mailbox),
    ] {
        for host in [None, Some("evil.example")] {
            let mut request = stage.host.post(path).json(body);
            for (name, value) in CLAIMS {
                request = request.header(name, value);
            }
            if let Some(host) = host {
                request = request.header("host", host);
            }
            let answer = request.send().await;
            assert!(
                matches!(answer.status, 202 | 400 | 421),
                "{path}: {}",
                answer.text()
            );
        }
    }
    for (email, page) in [
        ("bob@example.org", "verify-email"),
        ("ada@example.org", "password/reset"),
        ("ada@example.org", "magic-link/verify"),
    ] {
        let mail = stage.mail(email, &format!("/{page}?token=")).await;
        let link = format!("http://localhost:3000/auth/{page}?token=");
        assert!(mail.contains(&link), "{page}");
        assert!(!mail.contains("evil.example"), "{page}");
    }
    stage.host.stop().await;
}

#[tokio::test]
async fn session_variables_and_origins_of_a_request_are_nobodys_rights() {
    let stage = Stage::open().await;
    let ada = stage.person("ada@example.org").await;
    let bare = stage
        .host
        .get("/auth/me")
        .header(
            "x-hasura-user-id",
            ada.0["user"]["id"].as_str().expect("an id"),
        )
        .header("x-hasura-role", "admin");
    assert_eq!(bare.send().await.status, 401);
    let foreign = stage
        .get_as(&ada, "/auth/me")
        .header("origin", "https://evil.example")
        .header("x-hasura-role", "OWNER")
        .send()
        .await
        .expect_status(200);
    assert_eq!(foreign.data()["role"], json!(null));
    assert_eq!(foreign.headers.get("access-control-allow-origin"), None);
    assert_eq!(foreign.headers["x-content-type-options"], "nosniff");
    assert_eq!(foreign.headers["cache-control"], "no-store");
    stage.host.stop().await;
}

#[tokio::test]
async fn what_was_audited_stays_as_it_was() {
    let stage = Stage::open().await;
    stage.person("ada@example.org").await;
    let sql = stage.host.sql_as("auth").await;
    for forbidden in [
        "update nself.audit_log set action = 'nothing'",
        "delete from nself.audit_log",
        "truncate nself.audit_log",
    ] {
        assert!(sql.batch_execute(forbidden).await.is_err(), "{forbidden}");
    }
    drop(sql);
    let sql = stage.host.sql().await;
    let broken = sql.query("select * from nself.verify_audit()", &[]).await;
    assert!(broken.expect("the chain is read").is_empty());
    let entries =
        "select count(*) from nself.audit_log where action in ('auth.signed_up', 'auth.signed_in')";
    let entries: i64 = sql
        .query_one(entries, &[])
        .await
        .expect("the log reads")
        .get(0);
    assert_eq!(entries, 2);
    drop(sql);
    stage.host.stop().await;
}

//! Whoever changes how an account is signed in to, its owner hears of it by mail.

use nself_plugin_api::jiff::{SignedDuration, Timestamp};
use nself_plugin_testkit::{TestHost, eventually};
use serde_json::json;

use crate::{
    app::App,
    authenticator::Key,
    household::id_of,
    stage::{PASSWORD, Session, Stage},
};

const ANOTHER: &str = "zwetschgenknoedel";

/// What each mail says, and no other one.
const ENGLISH: [&str; 8] = [
    "From now on signing in asks for its code",
    "The old ones are worth nothing now",
    "Signing in does not ask for its code any more",
    "A passkey was added to your account",
    "A passkey was removed from your account",
    "An access token for scripts was made",
    "The password of your account was changed",
    "Your account uses another address now",
];

const GERMAN: [&str; 8] = [
    "von nun an nach ihrem Code",
    "Die alten gelten nicht mehr",
    "nicht mehr nach ihrem Code",
    "ein Passkey hinzu",
    "Mit ihm kann sich niemand mehr anmelden",
    "Wer es hat, kann in deinem Namen handeln",
    "Das Passwort deines Kontos wurde",
    "Dein Konto hat jetzt eine andere Adresse",
];

/// Changes everything once.
async fn change_all(stage: &Stage, session: &Session, another_address: &str) {
    let (_, session) = stage.enroll(session).await;
    let post = async |path: &str, body: serde_json::Value| {
        let answer = stage.post_as(&session, path, &body).await;
        assert!(answer.status < 300, "{path}: {}", answer.text());
    };
    post("/auth/mfa/recovery-codes", json!({})).await;
    let (passkey, _) = stage.passkey(&session, Key::es256()).await;
    let path = format!("/auth/passkeys/{}", id_of(&passkey));
    let removed = stage.send_as(&session, "DELETE", &path, &json!({})).await;
    let _ = removed.expect_status(200);
    let removed = stage
        .send_as(&session, "DELETE", "/auth/mfa/totp", &json!({}))
        .await;
    let _ = removed.expect_status(200);
    post("/auth/tokens", json!({"name": "backup"})).await;
    let passwords = json!({"current_password": PASSWORD, "password": ANOTHER});
    post("/auth/password/change", passwords).await;
    post("/auth/email/change", json!({"email": another_address})).await;
    let token = stage.mailed_token(another_address, "email/confirm").await;
    let confirmed = stage
        .post("/auth/email/confirm", &json!({"token": token}))
        .await;
    let _ = confirmed.expect_status(200);
}

async fn check(language: &str, email: &str, another_address: &str, said: [&str; 8]) {
    let stage = Stage::open().await;
    let session = stage.person(email).await;
    let body = json!({"locale": language});
    let changed = stage.send_as(&session, "PATCH", "/auth/me", &body).await;
    let _ = changed.expect_status(200);
    change_all(&stage, &session, another_address).await;
    for words in said {
        stage.mail(email, words).await;
    }
    let mails = stage.mails(email).await;
    for words in said {
        let mails = mails.iter().filter(|mail| mail.contains(words)).count();
        assert_eq!(mails, 1, "{words}");
    }
    let others = stage.mails(another_address).await;
    assert_eq!(
        others.len(),
        1,
        "the other address got its link and no more"
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn each_change_is_told_once() {
    check("en", "ada@example.org", "ada@example.com", ENGLISH).await;
}

#[tokio::test]
async fn each_change_is_told_once_in_german() {
    check("de", "ada@example.org", "ada@example.com", GERMAN).await;
}

#[tokio::test]
async fn what_apps_written_for_nhost_change_is_told_too() {
    let (stage, email) = (Stage::open().await, "ada@example.org");
    let session = stage.person(email).await;
    let post = async |session: &Session, path: &str, body: serde_json::Value| {
        let answer = stage.post_as(session, path, &body).await;
        let _ = answer.expect_status(200);
    };
    stage.add_passkey(&session).await;
    let set_up = stage.get_as(&session, "/mfa/totp/generate").send().await;
    let set_up = set_up.expect_status(200).json();
    let app = App::reading(&json!({"secret": set_up["totpSecret"]}));
    let on = json!({"code": app.code(), "activeMfaType": "totp"});
    post(&session, "/user/mfa", on).await;
    let session = stage.refresh(session.refresh()).await.expect_status(200);
    let session = Session(session.data());
    let off = json!({"code": "", "activeMfaType": ""});
    post(&session, "/user/mfa", off).await;
    let soon = Timestamp::now() + SignedDuration::from_hours(1);
    post(&session, "/pat", json!({"expiresAt": soon.to_string()})).await;
    let password = json!({"newPassword": ANOTHER});
    post(&session, "/user/password", password).await;
    for said in [0, 2, 3, 5, 6].map(|at| ENGLISH[at]) {
        stage.mail(email, said).await;
    }
    stage.host.stop().await;
}

#[tokio::test]
async fn a_mail_server_that_is_away_keeps_nobody_from_a_change() {
    // Nobody listens on the port of a socket that is bound and does not accept.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("it is bound").port();
    drop(silent);
    let host = TestHost::builder()
        .plugin("nself-plugin-mail")
        .plugin("nself-plugin-auth")
        .config("[plugins.auth.config]\nsign_up = \"open\"")
        .config(&format!(
            "[plugins.mail.config]\ndelivery = \"smtp\"\nsmtp_host = \"127.0.0.1\"\nsmtp_port = {port}\n\
             smtp_tls = \"none\"\nsmtp_timeout_seconds = 5\nfrom = \"Us <us@example.org>\"\n"
        ));
    let stage = Stage {
        host: host.start().await,
    };
    let ada = stage.person("ada@example.org").await;
    let passwords = json!({"current_password": PASSWORD, "password": ANOTHER});
    let changed = stage
        .post_as(&ada, "/auth/password/change", &passwords)
        .await;
    let _ = changed.expect_status(200);
    let (_, ada) = stage.enroll(&ada).await;
    let made = stage
        .post_as(&ada, "/auth/tokens", &json!({"name": "backup"}))
        .await;
    let _ = made.expect_status(201);
    let sql = stage.host.sql().await;
    for template in [
        "auth/password-changed",
        "auth/totp-added",
        "auth/token-made",
    ] {
        eventually(&format!("{template} waits for the server"), async || {
            let waiting = "select count(*) from mail.messages \
                           where template = $1 and state in ('queued', 'sending') and attempts > 0";
            let row = sql.query_one(waiting, &[&template]).await;
            (row.expect("the queue reads").get::<_, i64>(0) == 1).then_some(())
        })
        .await;
    }
    drop(sql);
    stage.host.stop().await;
}

//! No answer tells whether an address has an account: same status, same headers, same shape, round after round. That it
//! does not tell by its time either is measured by the benchmarks.

use nself_plugin_testkit::Answer;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stage::{PASSWORD, Session, Stage};

const ROUNDS: usize = 25;

/// Asked so often, nothing may be throttled: that has tests of its own.
const UNTHROTTLED: &str =
    "[plugins.auth.config]\ntries_per_address = 100000\ntries_per_account = 100000";

/// What an answer looks like: what differs by chance is taken out.
fn looks(answer: &Answer) -> (u16, Vec<String>, Value) {
    let mut headers: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
    headers.sort_unstable();
    (answer.status, headers, shape(answer.json()))
}

/// The body with a word for each thing that is new every time.
fn shape(value: Value) -> Value {
    match value {
        Value::String(text) if text.parse::<Uuid>().is_ok() => json!("an id"),
        Value::Array(values) => values.into_iter().map(shape).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| match &*name {
                "challenge" => (name, json!("a challenge")),
                _ => (name, shape(value)),
            })
            .collect(),
        value => value,
    }
}

/// The doors, and what is sent to them for an address.
fn doors(email: &str) -> Vec<(&'static str, Value)> {
    let mailbox = json!({"email": email});
    let wrong = json!({"email": email, "password": "not the password"});
    let new = json!({"email": email, "password": "a password of somebody"});
    vec![
        ("/auth/login", wrong.clone()),
        ("/auth/register", new.clone()),
        ("/auth/password/forgot", mailbox.clone()),
        ("/auth/magic-link/start", mailbox.clone()),
        ("/auth/otp/start", mailbox.clone()),
        ("/auth/verify-email/resend", mailbox.clone()),
        ("/auth/passkeys/login/options", mailbox.clone()),
        ("/signup/email-password", new),
        ("/signin/email-password", wrong),
        ("/signin/passwordless/email", mailbox.clone()),
        ("/signin/otp/email", mailbox.clone()),
        ("/user/password/reset", mailbox.clone()),
        ("/user/email/send-verification-email", mailbox),
    ]
}

#[tokio::test]
async fn twenty_five_times_at_every_door_a_known_address_is_answered_like_an_unknown_one() {
    let stage = Stage::with(&format!(
        "{UNTHROTTLED}\nredirect_urls = [\"https://app.example/\"]"
    ))
    .await;
    stage.person("ada@example.org").await;
    for round in 0..ROUNDS {
        let known = doors("ada@example.org");
        let unknown = doors(&format!("nobody-{round}@example.org"));
        for ((path, known), (_, unknown)) in known.iter().zip(&unknown) {
            // Who goes first changes, so that an order would show as well.
            let (first, second) = if round % 2 == 0 {
                (known, unknown)
            } else {
                (unknown, known)
            };
            let first = stage.post(path, first).await;
            let second = stage.post(path, second).await;
            assert_eq!(looks(&first), looks(&second), "{path} in round {round}");
            assert!(first.status < 500, "{path}: {}", first.text());
        }
    }
    let _ = stage
        .login("ada@example.org", PASSWORD)
        .await
        .expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_code_of_an_unknown_address_is_as_wrong_as_one_of_a_known_address() {
    let stage = Stage::with(UNTHROTTLED).await;
    stage.person("ada@example.org").await;
    let mut answers = Vec::new();
    for email in ["ada@example.org", "nobody@example.org"] {
        let started = stage
            .post("/auth/otp/start", &json!({"email": email}))
            .await;
        let flow = started.expect_status(202).data()["flow_id"].take();
        // Beyond the tries that a code has, too.
        for _ in 0..7 {
            let guess = json!({"flow_id": flow, "code": "x"});
            let answer = stage.post("/auth/otp/verify", &guess).await;
            answers.push(looks(&answer));
        }
    }
    assert_eq!(answers[..7], answers[7..]);
    stage.host.stop().await;
}

#[tokio::test]
async fn who_is_signed_in_does_not_learn_either_who_else_has_an_account() {
    let stage = Stage::with(UNTHROTTLED).await;
    let (family, owner) = stage.owner("ada@example.org").await;
    stage.person("bob@example.org").await;
    let invite = format!("/auth/families/{family}/invitations");
    let ask = async |session: &Session, path: &str, body: Value| {
        looks(&stage.post_as(session, path, &body).await)
    };
    for (path, key, more) in [
        ("/auth/email/change", "email", json!({})),
        ("/user/email/change", "newEmail", json!({})),
        (&*invite, "email", json!({"role": "ADULT_MEMBER"})),
    ] {
        let body = |email: &str| {
            let mut body = more.clone();
            body[key] = json!(email);
            body
        };
        let (status, headers, known) = ask(&owner, path, body("bob@example.org")).await;
        let unknown = ask(&owner, path, body("eve@example.org")).await;
        let told = known.to_string().replace("bob@", "eve@");
        let untimed = |text: &str| -> String {
            let texts = text.split('"').filter(|part| !part.starts_with("20"));
            texts.collect()
        };
        assert_eq!(
            (status, headers, untimed(&told)),
            (unknown.0, unknown.1, untimed(&unknown.2.to_string())),
            "{path}"
        );
    }
    stage.host.stop().await;
}

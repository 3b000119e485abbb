//! Sign in with Apple, at a place that behaves as Apple does: it takes no client whose secret is not signed with its key.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use nself_plugin_testkit::TestHost;
use rcgen::PublicKeyData as _;
use serde_json::json;

use super::{
    REACH_LOOPBACK, TRUSTED,
    browser::{Browser, HOME, Page, parameter},
    callback_of,
    place::Place,
    start_of,
};
use crate::stage::{Session, Stage};

const CLIENT: &str = "org.example.web";
const TEAM: &str = "TEAM123456";
const KEY: &str = "KEY1234567";

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// Apple, which knows the public half of a key, and the private half.
async fn apple() -> (Place, String) {
    let key = rcgen::KeyPair::generate().expect("a key pair");
    let public = pem("PUBLIC KEY", &key.subject_public_key_info());
    let callback = callback_of("apple");
    let words = [&*callback, CLIENT, TEAM, KEY];
    let place = Place::run("apple.mjs", &words, &[("APPLE_KEY", &public)]).await;
    (place, pem("PRIVATE KEY", &key.serialize_der()))
}

/// A host whose people may sign in with Apple.
async fn stage(place: &Place, key: &str, more: &str) -> Stage {
    let provider = format!(
        "[plugins.auth.config.providers.apple]\npreset = \"apple\"\nissuer = \"{}\"\nclient_id = \"{CLIENT}\"\n\
         {TRUSTED}\n{more}",
        place.issuer
    );
    let host = TestHost::builder()
        .plugin("nself-plugin-mail")
        .plugin("nself-plugin-auth")
        .secret("auth-apple", key)
        .config("[plugins.mail.listen]\n1025 = 0")
        .config(REACH_LOOPBACK)
        .config(&provider);
    Stage {
        host: host.start().await,
    }
}

fn ids(team: &str, key: &str) -> String {
    format!("team_id = \"{team}\"\nkey_id = \"{key}\"")
}

/// The fields of the form in a page, as a browser sends them.
fn form_of(page: &Page) -> String {
    let mut fields = Vec::new();
    for input in page.text.split("<input name=\"").skip(1) {
        let (name, rest) = input
            .split_once("\" value=\"")
            .expect("a field has a value");
        let (value, _) = rest.split_once('"').expect("a value ends");
        let value = value.replace("&quot;", "\"").replace("&amp;", "&");
        fields.push((name.to_owned(), value));
    }
    serde_urlencoded::to_string(&fields).expect("a form")
}

/// Somebody goes to Apple and comes back: the page that posted, and where the browser is in the end.
async fn arrive(stage: &Stage, person: &str) -> (Page, String) {
    let mut browser = Browser::of(&stage.host, person);
    let asked = browser.open(&start_of("apple")).await;
    let form = browser.open(asked.leads_to()).await;
    assert_eq!(form.status, 200, "{}", form.text);
    // Apple's page posts, and brings no cookie of ours along.
    let posted = Browser::of(&stage.host, person)
        .post(&callback_of("apple"), form_of(&form))
        .await;
    assert_eq!(posted.status, 303, "{}", posted.text);
    let arrived = browser.open(posted.leads_to()).await;
    let arrived = arrived.leads_to().to_owned();
    assert!(
        arrived.starts_with(&format!("{HOME}/signed-in")),
        "{arrived}"
    );
    (posted, arrived)
}

async fn signed_in(stage: &Stage, person: &str) -> Session {
    let (_, arrived) = arrive(stage, person).await;
    Session(stage.exchange(&arrived).await.expect_status(200).data())
}

#[tokio::test]
async fn somebody_signs_in_with_apple_and_is_called_what_the_first_answer_says() {
    let (place, key) = apple().await;
    let stage = stage(&place, &key, &ids(TEAM, KEY)).await;
    let (posted, arrived) = arrive(&stage, "ada").await;
    assert!(
        !posted.leads_to().contains("Appleseed") && !posted.leads_to().contains("form"),
        "no name and no address of anybody's stands in an address: {}",
        posted.leads_to()
    );
    let session = Session(stage.exchange(&arrived).await.expect_status(200).data());
    assert_eq!(session.0["user"]["display_name"], "ada Appleseed");
    assert_eq!(session.0["user"]["email"], "ada@example.org");
    assert_eq!(session.0["user"]["is_email_verified"], json!(true));
    // From the second time on there is no name.
    let again = signed_in(&stage, "ada").await;
    assert_eq!(again.0["user"]["id"], session.0["user"]["id"]);
    assert_eq!(again.0["user"]["display_name"], "ada Appleseed");
    let identities = stage.identities(&again).await;
    assert_eq!(identities[0]["provider"], "apple");
    stage.host.stop().await;
}

#[tokio::test]
async fn a_name_that_somebody_else_puts_into_the_address_is_none() {
    let (place, key) = apple().await;
    let stage = stage(&place, &key, &ids(TEAM, KEY)).await;
    let mut browser = Browser::of(&stage.host, "bob");
    let asked = browser.open(&start_of("apple")).await;
    let form = browser.open(asked.leads_to()).await;
    let posted = browser.post(&callback_of("apple"), form_of(&form)).await;
    let forged = super::browser::changed(posted.leads_to(), "user", Some("Zm9yZ2Vk"));
    let arrived = browser.open(&forged).await;
    let session = stage.exchange(arrived.leads_to()).await.expect_status(200);
    assert_eq!(session.data()["user"]["display_name"], "");
    stage.host.stop().await;
}

#[tokio::test]
async fn who_says_no_at_apple_comes_back_without_a_code() {
    let (place, key) = apple().await;
    let stage = stage(&place, &key, &ids(TEAM, KEY)).await;
    let (_, arrived) = arrive(&stage, "").await;
    assert_eq!(
        parameter(&arrived, "error").as_deref(),
        Some("PROVIDER_DENIED")
    );
    stage.host.stop().await;
}

#[tokio::test]
async fn apple_takes_no_secret_of_another_team_or_key() {
    let (place, key) = apple().await;
    let (_, foreign) = apple().await;
    for (key, ids) in [
        (&key, ids("ANOTHER123", KEY)),
        (&key, ids(TEAM, "ANOTHER123")),
        (&foreign, ids(TEAM, KEY)),
    ] {
        let stage = stage(&place, key, &ids).await;
        let (_, arrived) = arrive(&stage, "ada").await;
        let error = parameter(&arrived, "error");
        assert_eq!(error.as_deref(), Some("PROVIDER_FAILED"), "{ids}");
        stage.host.stop().await;
    }
}

#[tokio::test]
#[should_panic(expected = "AuthKey_")]
async fn without_a_key_the_plugin_does_not_start() {
    let (place, _) = apple().await;
    stage(&place, "not a key", &ids(TEAM, KEY)).await;
}

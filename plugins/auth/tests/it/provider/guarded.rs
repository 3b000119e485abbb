//! What the plugin may reach, and how much it takes.

use nself_plugin_testkit::TestHost;
use serde_json::json;

use super::{
    REACH_LOOPBACK,
    browser::{Browser, HOME, parameter},
    fake::{Fake, Issuer, Key, Told, told},
    stage, start_of,
};
use crate::stage::Stage;

fn configured(issuer: &str, slug: &str) -> String {
    format!(
        "[plugins.auth.config.providers.{slug}]\nissuer = \"{issuer}\"\nclient_id = \"nself\"\n\
         is_public_client = true"
    )
}

/// Somebody tries to sign in with a place that cannot be used.
async fn refused(host: &TestHost, slug: &str) {
    let page = Browser::of(host, "").open(&start_of(slug)).await;
    let arrived = page.leads_to();
    assert!(
        arrived.starts_with(&format!("{HOME}/signed-in?")),
        "{arrived}"
    );
    assert_eq!(
        parameter(arrived, "error").as_deref(),
        Some("PROVIDER_FAILED")
    );
    assert!(!page.headers.contains_key("set-cookie"));
}

#[tokio::test]
async fn an_issuer_inside_the_house_is_not_called_unless_the_operator_says_so() {
    let trap = Fake::open(|root, _| told(&json!({"issuer": root}))).await;
    let port = trap.root.rsplit(':').next().expect("a port").to_owned();
    let hosts = [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "169.254.169.254",
        "10.0.0.1",
        "[fe80::1]",
        "[fd00::1]",
    ];
    let places = hosts
        .iter()
        .enumerate()
        .map(|(at, host)| configured(&format!("https://{host}:{port}"), &format!("place-{at}")));
    let places: Vec<String> = places.collect();
    let stage = stage(&places.iter().map(|place| &**place).collect::<Vec<_>>()).await;
    for at in 0..hosts.len() {
        refused(&stage.host, &format!("place-{at}")).await;
    }
    stage.host.stop().await;
    assert_eq!(trap.calls(), 0, "nobody knocked");
}

#[tokio::test]
#[should_panic(expected = "plugins.auth.egress: egress entry")]
async fn a_grant_that_does_not_read_keeps_the_host_from_starting() {
    stage(&["[plugins.auth]\negress = [\"https://sso.lan/\"]"]).await;
}

#[tokio::test]
async fn a_place_leads_to_no_other_address_of_the_house() {
    let trap = Fake::open(|_, _| told(&json!({"keys": []}))).await;
    let inside = trap.root.clone();
    let redirecting = Fake::open(move |_, _| Told {
        head: format!("HTTP/1.1 302 Found\r\nlocation: {inside}/\r\n"),
        body: String::new(),
    })
    .await;
    let reach = |root: &str| {
        let address = root.trim_start_matches("http://");
        format!("[plugins.auth]\negress = [\"{address}\"]")
    };
    let one = stage(&[
        &reach(&redirecting.root),
        &configured(&redirecting.root, "place"),
    ])
    .await;
    refused(&one.host, "place").await;
    one.host.stop().await;

    let (inside, key) = (format!("{}/jwks", trap.root), Key::new("one"));
    let issuer = Issuer::open(vec![], move |_, document| {
        document["jwks_uri"] = json!(inside);
    })
    .await;
    let one = stage(&[
        &reach(issuer.issuer()),
        &configured(issuer.issuer(), "place"),
    ])
    .await;
    let token = key.sign(
        "one",
        &json!({"iss": issuer.issuer(), "sub": "a", "aud": "nself", "exp": 1, "iat": 1}),
    );
    let body = json!({"id_token": token, "nonce": "of the app"});
    let answer = one.post("/auth/oauth/place/id-token", &body).await;
    assert_eq!((answer.status, &*answer.code()), (502, "PROVIDER_FAILED"));
    assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
    one.host.stop().await;
    assert_eq!(trap.calls(), 0, "nobody knocked");
}

#[tokio::test]
async fn a_place_that_says_too_much_or_something_else_is_not_used() {
    let other = |_: &str, document: &mut serde_json::Value| {
        document["issuer"] = json!("https://elsewhere.example");
    };
    let long = |_: &str, document: &mut serde_json::Value| {
        document["more"] = json!("x".repeat(256 * 1024));
    };
    let plain = |_: &str, document: &mut serde_json::Value| {
        document["token_endpoint"] = json!("http://elsewhere.example/token");
    };
    for issuer in [
        Issuer::open(vec![], other).await,
        Issuer::open(vec![], long).await,
        Issuer::open(vec![], plain).await,
    ] {
        let stage: Stage = stage(&[REACH_LOOPBACK, &configured(issuer.issuer(), "place")]).await;
        refused(&stage.host, "place").await;
        stage.host.stop().await;
    }
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let root = format!("http://{}", silent.local_addr().expect("it is bound"));
    let stage = stage(&[REACH_LOOPBACK, &configured(&root, "place")]).await;
    refused(&stage.host, "place").await;
    stage.host.stop().await;
    drop(silent);
}

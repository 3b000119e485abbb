//! Tokens of a server that others wrote: the real `oidc-provider`.

use std::process::Stdio;

use nself_plugin_testkit::{TestHost, node_scripts, within};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout},
};

use crate::stage::{builder, definition, ended, put, start};

const SECRET: &str = "the secret of a client, which is long enough";

/// The server; it ends with this.
struct Place {
    issuer: String,
    refresh: String,
    _process: Child,
    /// A process whose output nobody takes ends at its next word.
    _output: Lines<BufReader<ChildStdout>>,
}

async fn place() -> Place {
    let scripts = node_scripts!("tests/provider").await;
    let mut command = scripts.script("provider.mjs");
    let mut process = scripts.start(command.stderr(Stdio::null()));
    let output = process.stdout.take().expect("its output is piped");
    let mut lines = BufReader::new(output).lines();
    let told = within("the server of tokens starts", lines.next_line()).await;
    let told = told.expect("it is heard").expect("it says where it is");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let text = |name: &str| told[name].as_str().expect("a text").to_owned();
    Place {
        issuer: text("issuer"),
        refresh: text("refresh"),
        _process: process,
        _output: lines,
    }
}

async fn host(place: &Place, secret: &str) -> TestHost {
    let address = place.issuer.trim_start_matches("http://");
    let config = format!("[plugins.orchestrator]\negress = [\"{address}\"]\n");
    let secrets = json!({"client": {"secret": secret, "refresh": place.refresh}});
    let host = builder()
        .config(&config)
        .secret("workflow-secrets", &secrets.to_string());
    host.start().await
}

/// So many calls of the page, with a policy.
fn calls(place: &Place, policy: &Value, times: usize) -> String {
    let shared = format!(
        "use: {}\n",
        json!({"secrets": ["client"], "authentications": {"proof": {"oauth2": policy}}})
    );
    let call = |number| {
        let endpoint =
            json!({"uri": format!("{}/page", place.issuer), "authentication": {"use": "proof"}});
        let with = json!({"method": "get", "endpoint": endpoint});
        format!(
            "  - call{number}: {}\n",
            json!({"call": "http", "with": with})
        )
    };
    let tasks: String = (0..times).map(call).collect();
    definition("calls", &shared, &tasks)
}

fn policy(place: &Place, client: &str, grant: &str, more: &Value) -> Value {
    let mut policy = json!({
        "authority": place.issuer, "endpoints": {"token": "/token"}, "grant": grant,
        "client": {"id": client, "secret": "${ $secrets.client.secret }", "authentication": "client_secret_jwt"},
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        policy[name] = value.clone();
    }
    policy
}

async fn run(host: &TestHost, text: &str) -> Value {
    put(host, "calls", text).await;
    let started = start(host, "calls", json!({}), 0).await;
    ended(host, &started["id"]).await
}

#[tokio::test]
async fn a_refresh_token_that_is_renewed_at_each_use_serves_on() {
    let place = place().await;
    let host = host(&place, SECRET).await;
    let kind = "urn:ietf:params:oauth:token-type:refresh_token";
    let more = json!({"subject": {"token": "${ $secrets.client.refresh }", "type": kind}});
    let policy = policy(&place, "renewing", "refresh_token", &more);
    // One that came twice would have ended the grant.
    let ended = run(&host, &calls(&place, &policy, 4)).await;
    assert_eq!(
        ended["output"],
        json!({"of": "ann", "tokens": 4}),
        "{ended}"
    );
    host.stop().await;
}

#[tokio::test]
async fn a_client_proves_who_it_is_by_an_assertion_under_its_secret() {
    let place = place().await;
    let host = host(&place, SECRET).await;
    let policy = policy(&place, "machine", "client_credentials", &json!({}));
    let ended = run(&host, &calls(&place, &policy, 1)).await;
    assert_eq!(
        ended["output"],
        json!({"of": "machine", "tokens": 1}),
        "{ended}"
    );
    host.stop().await;
}

#[tokio::test]
async fn an_assertion_under_another_secret_proves_nothing() {
    let place = place().await;
    let host = host(&place, "the secret of somebody else, long enough too").await;
    let policy = policy(&place, "machine", "client_credentials", &json!({}));
    let ended = run(&host, &calls(&place, &policy, 1)).await;
    let detail = "no token was granted: 401 (invalid_client)";
    assert_eq!(ended["error"]["detail"], detail, "{ended}");
    host.stop().await;
}

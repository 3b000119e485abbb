//! Clients that others wrote, of pinned versions, by node.

use nself_plugin_testkit::node_scripts;
use serde_json::json;

use crate::stage::Stage;

/// Runs a script of `tests/clients` with the host's address in `BASE_URL`. What it printed is shown when it fails.
pub(crate) async fn run(stage: &Stage, script: &str, variables: &[(&str, &str)]) {
    let base_url = format!("http://{}", stage.host.address());
    let scripts = node_scripts!("tests/clients").await;
    let mut command = scripts.script(script);
    command.env("BASE_URL", base_url);
    scripts.run(command.envs(variables.iter().copied())).await;
}

#[tokio::test]
async fn nhost_js_signs_up_and_in_and_out_again() {
    let stage = Stage::open().await;
    run(&stage, "nhost.mjs", &[]).await;
    stage.host.stop().await;
}

#[tokio::test]
async fn nhost_js_does_by_mail_and_by_a_second_factor_what_its_table_says() {
    let config = "[plugins.auth.config]\nsign_up = \"open\"\nanonymous_sign_in = true\n\
         redirect_urls = [\"https://app.example/welcome\"]";
    let stage = Stage::with(config).await;
    let here = env!("CARGO_MANIFEST_DIR");
    let table = format!("{here}/../../docs/nhost.md");
    let browser_script = format!("{here}/tests/browser/nhost.mjs");
    let variables = [
        ("APP", "https://app.example/welcome"),
        ("TABLE", &table),
        ("BROWSER_SCRIPT", &browser_script),
    ];
    run(&stage, "nhost-mails.mjs", &variables).await;
    stage.host.stop().await;
}

#[tokio::test]
async fn the_nhost_client_of_older_apps_does_so_too() {
    let stage = Stage::open().await;
    run(&stage, "hasura-auth-js.mjs", &[]).await;
    stage.host.stop().await;
}

#[tokio::test]
async fn jose_verifies_our_tokens_by_our_key_set() {
    let stage = Stage::open().await;
    let session = stage.person("ada@example.org").await;
    let issuer = session.claims()["iss"].take();
    assert_eq!(issuer, json!("http://localhost:3000"));
    let variables = [
        ("ACCESS_TOKEN", session.access()),
        ("ISSUER", "http://localhost:3000"),
    ];
    run(&stage, "jose.mjs", &variables).await;
    stage.host.stop().await;
}

#[tokio::test]
async fn openid_client_finds_out_what_we_offer() {
    let stage = Stage::open().await;
    let variables = [("ISSUER", "http://localhost:3000")];
    run(&stage, "openid-client.mjs", &variables).await;
    stage.host.stop().await;
}

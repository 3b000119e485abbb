//! Clients that others wrote, of pinned versions, by node.

use nself_plugin_testkit::{eventually, node_scripts};
use serde_json::json;

use crate::stage::{PASSWORD, Session, Stage};

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
async fn jose_verifies_our_tokens_by_our_key_set_whatever_they_are_signed_with() {
    let stage = Stage::open().await;
    let ada = stage.person("ada@example.org").await;
    assert_eq!(ada.claims()["iss"], json!("http://localhost:3000"));
    let mut sessions = vec![("ES256", ada)];
    for algorithm in ["EdDSA", "RS256"] {
        let config = format!("[plugins.auth.config]\nalgorithm = \"{algorithm}\"");
        let host = stage.host.beside().config(&config).start().await;
        let rotate = host.post("/auth/admin/keys/rotate").operator();
        let rotated = rotate.json(&json!({"now": true})).send().await;
        let _ = rotated.expect_status(200);
        let beside = Stage { host };
        let session = beside.login("ada@example.org", PASSWORD).await;
        sessions.push((algorithm, Session(session.expect_status(200).data())));
        beside.host.stop().await;
    }
    eventually("the first host knows all three keys", async || {
        let set = stage.host.get("/.well-known/jwks.json").send().await;
        let keys = set.expect_status(200).json()["keys"].take();
        (keys.as_array().map(Vec::len) == Some(3)).then_some(())
    })
    .await;
    for (algorithm, session) in sessions {
        let variables = [
            ("ACCESS_TOKEN", session.access()),
            ("ALGORITHM", algorithm),
            ("ISSUER", "http://localhost:3000"),
        ];
        run(&stage, "jose.mjs", &variables).await;
        let me = stage.get_as(&session, "/auth/me").send().await;
        let _ = me.expect_status(200);
    }
    stage.host.stop().await;
}

#[tokio::test]
async fn openid_client_finds_out_what_we_offer() {
    let stage = Stage::open().await;
    let variables = [("ISSUER", "http://localhost:3000")];
    run(&stage, "openid-client.mjs", &variables).await;
    stage.host.stop().await;
}

//! What a person does in a real Chromium: with our pages, and with passkeys on a page and by a client that others wrote.

use nself_plugin_testkit::{chromium, free_port, node_scripts};

use crate::stage::{PASSWORD, Stage};

#[tokio::test]
async fn a_browser_makes_a_passkey_and_signs_in_with_it_from_our_page_only() {
    let port = free_port();
    let config = format!(
        "[plugins.auth.config]\nsign_up = \"open\"\npasskey_origins = [\"http://localhost:{port}\"]"
    );
    let stage = Stage::with(&config).await;
    let ada = stage.person("ada@example.org").await;
    let variables = [
        ("BASE_URL", format!("http://{}", stage.host.address())),
        ("PAGE_PORT", port.to_string()),
        ("ACCESS_TOKEN", ada.access().to_owned()),
    ];
    run("passkeys.mjs", variables).await;
    let sql = stage.host.sql().await;
    let noted = "select count(*) from nself.audit_log where action = 'auth.passkey_counter_behind'";
    let noted: i64 = sql
        .query_one(noted, &[])
        .await
        .expect("the log reads")
        .get(0);
    assert_eq!(noted, 1);
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn nhosts_clients_make_passkeys_and_sign_in_with_them() {
    let port = free_port();
    let config = format!(
        "[plugins.auth.config]\nsign_up = \"open\"\npasskey_origins = [\"http://localhost:{port}\"]"
    );
    let stage = Stage::with(&config).await;
    stage.person("ada@example.org").await;
    let variables = [
        ("BASE_URL", format!("http://{}", stage.host.address())),
        ("PAGE_PORT", port.to_string()),
        ("EMAIL", "ada@example.org".to_owned()),
        ("PASSWORD", PASSWORD.to_owned()),
    ];
    run("nhost.mjs", variables).await;
    stage.host.stop().await;
}

#[tokio::test]
async fn people_find_their_way_through_the_pages() {
    // Links in mails and passkeys need an address that is known before.
    let port = free_port();
    let config = format!(
        "[http]\nport = {port}\n[plugins.auth.config]\npublic_url = \"http://localhost:{port}\""
    );
    let stage = Stage::with(&config).await;
    let variables = [("BASE_URL", format!("http://localhost:{port}"))];
    run("pages.mjs", variables).await;
    stage.host.stop().await;
}

/// Runs a script with a browser of its own; what it printed is shown when it fails.
pub(crate) async fn run<const N: usize>(script: &str, variables: [(&'static str, String); N]) {
    let profile = tempfile::tempdir().expect("there is room for a profile");
    let scripts = node_scripts!("tests/browser").await;
    let mut command = scripts.script(script);
    command.envs(variables).env("PROFILE", profile.path());
    scripts.run(command.env("CHROMIUM", chromium())).await;
}

//! Clients that others wrote, of pinned versions, by node. Whoever runs the tests needs `node` and `npm`; the packages are
//! installed below `target/`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use serde_json::json;

use crate::stage::Stage;

/// Where the scripts and the list of packages are.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

/// Runs a script of `tests/clients` with the host's address in `BASE_URL`. What it printed is shown when it fails.
pub(crate) async fn run(stage: &Stage, script: &'static str, variables: &[(&'static str, &str)]) {
    let base_url = format!("http://{}", stage.host.address());
    let mut variables: Vec<(&str, String)> = variables
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    variables.push(("BASE_URL", base_url));
    // On a thread of its own: the host answers on this one meanwhile.
    let ran = tokio::task::spawn_blocking(move || {
        let folder = installed();
        let mut command = Command::new("node");
        command.arg(script).current_dir(folder).envs(variables);
        output(&mut command)
    });
    let ran = ran.await.expect("the script was started");
    assert!(ran.status.success(), "{script}: {}", printed(&ran));
}

/// The folder with the scripts and their packages; made once.
fn installed() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("auth-clients");
        fs::create_dir_all(&folder).expect("the target folder can be written");
        for entry in fs::read_dir(SOURCES).expect("the sources are there") {
            let entry = entry.expect("the sources can be listed");
            fs::copy(entry.path(), folder.join(entry.file_name())).expect("a source is copied");
        }
        let lock = fs::read(folder.join("package-lock.json")).expect("there is a lock file");
        let stamp = folder.join("installed");
        if fs::read(&stamp).ok().as_ref() != Some(&lock) {
            let mut install = Command::new("npm");
            install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
            let ran = output(install.current_dir(&folder));
            assert!(ran.status.success(), "npm ci: {}", printed(&ran));
            fs::write(stamp, lock).expect("the target folder can be written");
        }
        folder
    })
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| {
        let program = command.get_program().display();
        panic!("{program}: {error}; the tests need it: apt-get install nodejs npm")
    })
}

fn printed(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
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

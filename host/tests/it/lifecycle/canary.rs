//! Secrets show up nowhere: logs, errors, process arguments, metrics, documents, lists.

use std::fs;

use super::plugin_file::{bad, hello};
use super::project::{Project, eventually};

const KEY: &str = "canary-api-key-0123456789abcdef0123456789";
const PASSWORD: &str = "canary-plugin-password-0123456789";

/// Command lines of all processes.
fn arguments() -> String {
    let mut all = String::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        // A process may have ended meanwhile.
        let text = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        all += &String::from_utf8_lossy(&text);
        all.push('\n');
    }
    all
}

/// Every file below a directory whose text is a secret, with its name.
fn secrets(project: &Project) -> Vec<(String, String)> {
    let directory = project.path().join(".nself/secrets");
    let mut all: Vec<(String, String)> = fs::read_dir(directory)
        .unwrap()
        .flatten()
        .map(|entry| {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            (
                entry.file_name().to_string_lossy().into_owned(),
                text.trim().to_owned(),
            )
        })
        .filter(|(_, text)| text.len() >= 16)
        .collect();
    all.push(("plugin password".into(), PASSWORD.into()));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_shown_anywhere() {
    let project = Project::embedded(&format!(
        "[plugins.bad.config]\npassword = \"{PASSWORD}\"\n\
         [identity.api_keys.ops]\nsecret = \"ops-key\"\nscopes = [\"operator\"]\n\
         [log]\nlevel = \"trace\"\n"
    ));
    let file = project.path().join(".nself/secrets/ops-key");
    fs::write(&file, KEY).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&file, private).unwrap();
    project.enable("bad", &bad("1.0.0"));
    project.enable("hello", &hello());
    let host = project.start();
    let token = project.token();

    let mut shown = arguments();
    let mut caller = host.caller().await.with_token(&token);
    let mut operator = host.caller().await.with_token(KEY);
    for path in [
        "/metrics",
        "/openapi.json",
        "/readyz",
        "/hello/notes",
        "/bad/panic/before",
        "/nowhere",
    ] {
        shown += &String::from_utf8_lossy(&caller.get(path).await.body);
        shown += &String::from_utf8_lossy(&operator.get(path).await.body);
    }
    for arguments in [
        &["config"][..],
        &["config", "--json"],
        &["status"],
        &["status", "--json"],
        &["urls"],
        &["plugin", "list", "--json"],
        &["plugin", "inspect", "bad", "--json"],
        &["plugin", "inspect", "hello"],
        &["plugin", "check"],
        &["db", "migrate", "status"],
        &["version"],
    ] {
        let ran = project.nself(arguments);
        shown += &ran.stdout;
        shown += &ran.stderr;
    }
    // A configuration that is wrong says so without the value.
    project.configure(&format!(
        "[plugins.bad.config]\npassword = [\"{PASSWORD}\"]\n"
    ));
    project.nself(&["plugin", "disable", "bad"]).done();
    let ran = project.nself(&["plugin", "enable", "bad"]);
    shown += &ran.stderr;
    shown += &ran.stdout;
    eventually("lines in the log", async || {
        (host.logged(&["plugin panicked"]) > 0).then_some(())
    })
    .await;
    project.nself(&["stop"]).done();
    shown += &host.log_text();
    let lock = project.path().join("plugins.lock");
    shown += &fs::read_to_string(lock).unwrap();

    for (name, secret) in secrets(&project) {
        assert!(!shown.contains(&secret), "{name} is shown");
    }
    assert!(!shown.contains(&token), "the token is shown");
}

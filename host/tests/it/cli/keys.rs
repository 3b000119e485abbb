//! API keys: the operator's first one, and those that are made later.

use std::fs;

use super::Project;

#[test]
fn a_new_project_shows_its_operators_key_once_and_keeps_only_the_digest() {
    let project = Project::empty();
    let first = project.run(&["init", "--json"]);
    let key = first.json()["data"]["operator_key"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(key.starts_with("nsk_") && key.len() == 68, "{key}");
    let file = fs::read_to_string(project.path().join("nself.toml")).unwrap();
    assert!(file.contains("[identity.api_keys.operator]") && !file.contains(&key));
    assert!(file.contains(&nself::identity::key_digest(&key)));
    assert!(project.run(&["init", "--json"]).json()["data"]["operator_key"].is_null());
    project.run(&["config"]).check(0, &[]);
}

#[test]
fn a_key_goes_to_standard_output_alone_and_its_digest_to_the_configuration() {
    let before = "# mine\n[http]\nport = 0 # any";
    let project = Project::with(&[("nself.toml", before)]);
    let ran = project.run(&[
        "config",
        "key",
        "ci",
        "--scope",
        "jobs.write",
        "--scope",
        "a\"b",
    ]);
    ran.check(0, &["shown this once"]);
    let key = ran.stdout.trim();
    assert!(key.starts_with("nsk_") && !ran.stderr.contains(key));
    let file = fs::read_to_string(project.path().join("nself.toml")).unwrap();
    assert!(file.starts_with(before), "{file}");
    let scopes = project.run(&["config", "identity.api_keys.ci.scopes", "--json"]);
    assert_eq!(
        scopes.json()["data"][0]["value"],
        serde_json::json!(["jobs.write", "a\"b"])
    );
    let digest = project.run(&["config", "identity.api_keys.ci.sha256", "--json"]);
    assert_eq!(
        digest.json()["data"][0]["value"],
        nself::identity::key_digest(key)
    );
}

#[test]
fn a_key_that_cannot_be_added_leaves_the_file_as_it_is() {
    let text = "[identity]\napi_keys = { ci = { sha256 = \"00\", scopes = [] } }\n";
    let project = Project::with(&[("nself.toml", text)]);
    project
        .run(&["config", "key", "ci"])
        .check(2, &["error[API_KEY_EXISTS]"]);
    project
        .run(&["config", "key", "a.b"])
        .check(2, &["error[API_KEY_NAME]"]);
    project
        .run(&["config", "key", "other"])
        .check(65, &["error[API_KEY_WRITE]", "as a table of its own"]);
    let after = fs::read_to_string(project.path().join("nself.toml")).unwrap();
    assert_eq!(after, text);
}

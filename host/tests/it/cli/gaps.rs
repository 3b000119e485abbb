//! `nself gaps`

use std::fs;

use serde_json::json;

use super::Project;
use crate::loader::fixture;

const ROW: &str = "## fax: Sending faxes\n\n- **Status:** open\n- **Capabilities:** `fax.send/1`\n- **What:** A plugin.\n\
    - **Who:** Some still do.\n- **Why:** No plugin has a modem.\n- **Plan:** A modem.\n- **Acceptance:** Paper comes out.\n";

#[test]
fn open_rows_are_listed_and_all_on_request() {
    let project = Project::with(&[("plugin-gaps.md", ROW)]);
    let open = project.run(&["gaps"]);
    open.check(0, &[]);
    assert!(
        open.stdout.contains("fax") && open.stdout.contains("blob/1"),
        "{open:?}"
    );
    assert!(!open.stdout.contains("nself.kv/1"), "{open:?}");
    let all = project.run(&["gaps", "--all", "--json"]).json();
    let ids: Vec<&str> = all["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["id"].as_str().unwrap())
        .collect();
    assert!(ids.contains(&"db") && ids.contains(&"fax"), "{ids:?}");
}

#[test]
fn a_row_that_lacks_its_fields_fails() {
    let project = Project::with(&[("plugin-gaps.md", &ROW.replace("- **Plan:** A modem.\n", ""))]);
    let lacking = "cause: plugin-gaps.md:1: gap `fax` lacks the field `Plan`";
    project
        .run(&["gaps"])
        .check(65, &["error[GAPS_INVALID]", lacking, "help: "]);
}

#[test]
fn a_capability_of_an_enabled_plugin_must_have_a_row() {
    let project = Project::empty();
    project.run(&["init"]).check(0, &[]);
    let mut manifest = fixture::manifest();
    manifest["provides"] = json!(["fax.send/1"]);
    fixture::put_manifest(&project.path().join("plugins.d"), &manifest);
    project.run(&["gaps"]).check(0, &[]);

    project.run(&["plugin", "enable", "notes"]).check(0, &[]);
    let missing = "cause: plugin notes: offers `fax.send/1`, which has no row";
    project
        .run(&["gaps"])
        .check(65, &["error[GAPS_INVALID]", missing]);
    fs::write(project.path().join("plugin-gaps.md"), ROW).unwrap();
    project.run(&["gaps"]).check(0, &[]);

    project.run(&["plugin", "disable", "notes"]).check(0, &[]);
    fs::remove_file(project.path().join("plugin-gaps.md")).unwrap();
    project.run(&["gaps"]).check(0, &[]);
}

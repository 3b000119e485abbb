//! `nself gaps`

use super::Project;

const ROW: &str = "## fax: Sending faxes\n\n- **Status:** open\n- **Capabilities:** `fax.send/1`\n- **What:** A plugin.\n\
    - **Why:** Some still do.\n- **Plan:** A modem.\n- **Acceptance:** Paper comes out.\n";

#[test]
fn open_rows_are_listed_and_all_on_request() {
    let project = Project::with(&[("plugin-gaps.md", ROW)]);
    let open = project.run(&["gaps"]);
    open.check(0, &[]);
    assert!(
        open.stdout.contains("fax") && open.stdout.contains("mail.send/1"),
        "{open:?}"
    );
    assert!(!open.stdout.contains("nself.db/1"), "{open:?}");
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

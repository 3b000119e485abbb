//! What only the project can say: `build` leaves it as it is written, and `diff` and `apply` have it.

use nself::{
    hasura::{build, diff, fragment::Fragment, project, tables},
    policy::Policy,
};
use serde_json::{Value, json};

use super::{brought, built, catalog};

fn posts(document: &mut Value) -> &mut Value {
    let tables = document["sources"][0]["tables"].as_array_mut().unwrap();
    tables
        .iter_mut()
        .find(|entry| entry["table"]["name"] == "posts")
        .unwrap()
}

/// The document with something in every slot.
fn filled(mut document: Value) -> Value {
    posts(&mut document)["event_triggers"] = json!([{
        "name": "post_written", "definition": {"insert": {"columns": "*"}},
        "webhook": "{{NSELF_URL}}/v1/jobs/hasura/posts.index",
        "headers": [{"name": "Authorization", "value_from_env": "NSELF_EVENTS_AUTHORIZATION"}],
    }]);
    document["cron_triggers"] = json!([{
        "name": "nightly", "schedule": "0 3 * * *", "webhook": "https://example.org", "include_in_metadata": true,
    }]);
    document["remote_schemas"] =
        json!([{"name": "weather", "definition": {"url_from_env": "WEATHER_URL"}}]);
    document
}

#[tokio::test]
async fn a_build_keeps_what_the_project_says_itself_and_makes_all_else_anew() {
    let catalog = catalog().await;
    let mut written = filled(built(&catalog));
    let again =
        |written: &Value| build::build(Policy::embedded(), &catalog, brought(), Some(written));
    assert_eq!(
        diff::lines(&written, &again(&written)),
        Vec::<String>::new()
    );
    // On disk as well, where it is laid out as the CLI does.
    let directory = tempfile::tempdir().unwrap();
    project::write(directory.path(), &written).unwrap();
    let read = project::read(directory.path()).unwrap();
    assert_eq!(diff::lines(&written, &read), Vec::<String>::new());
    let file = directory
        .path()
        .join("metadata/databases/default/tables/public_posts.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    assert!(
        text.contains("event_triggers:\n- name: post_written\n"),
        "{text}"
    );
    // Neither a permission nor an action is the project's to say.
    posts(&mut written)["select_permissions"] = json!([]);
    written["actions"] = json!([]);
    written["sources"][0]["functions"] = json!([]);
    assert_eq!(
        diff::lines(&filled(built(&catalog)), &again(&written)),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_trigger_of_the_project_is_a_difference_to_what_hasura_has() {
    let document = built(&catalog().await);
    let lines = diff::lines(&filled(document.clone()), &document);
    let tells = |part: &str| {
        assert!(
            lines.iter().any(|line| line.starts_with(part)),
            "{part}: {lines:#?}"
        );
    };
    tells("- /sources/default/tables/public.posts/event_triggers");
    tells("- /cron_triggers");
    tells("- /remote_schemas");
}

#[tokio::test]
async fn a_trigger_of_a_plugin_comes_and_goes_with_its_fragment() {
    let with = |trigger: &str| {
        let yaml = format!(
            "{{table: {{schema: hello, name: notes}}, event_triggers: [{{name: {trigger}, definition: {{}}}}]}}"
        );
        Fragment::read("hello", "notes.yaml", &yaml)
    };
    let refusal = with("note_written").unwrap_err().to_string();
    assert!(refusal.contains("begin its name with hello_"), "{refusal}");
    assert!(with("hello_note_written").is_ok());

    let catalog = catalog().await;
    let mut written = built(&catalog);
    let notes = |document: &mut Value| {
        let tables = document["sources"][0]["tables"].as_array_mut().unwrap();
        tables
            .iter()
            .position(|entry| entry["table"]["name"] == "notes")
            .unwrap()
    };
    let at = notes(&mut written);
    written["sources"][0]["tables"][at]["event_triggers"] =
        json!([{"name": "hello_of_an_older_version"}, {"name": "of_the_project"}]);
    let fresh = build::build(Policy::embedded(), &catalog, brought(), Some(&written));
    let names: Vec<&Value> = tables(&fresh)[at]["event_triggers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, [&json!("of_the_project")]);
}

#[tokio::test]
async fn halves_of_actions_that_do_not_belong_together_are_told() {
    let document = built(&catalog().await);
    let directory = tempfile::tempdir().unwrap();
    let tells = |file: &str, change: &dyn Fn(String) -> String, expected: &str| {
        project::write(directory.path(), &document).unwrap();
        let path = directory.path().join("metadata").join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, change(text)).unwrap();
        let refusal = project::read(directory.path()).unwrap_err().to_string();
        assert!(refusal.contains(expected), "{refusal}");
    };
    tells(
        "actions.graphql",
        &|text| text.replace("  auth_me: ", "  auth_myself: "),
        "has the action \"auth_me\", and actions.graphql has not",
    );
    tells(
        "actions.graphql",
        &|text| text + "\nextend type Query { more: AuthMeOutput }\n",
        "has the action \"more\", and actions.yaml has not",
    );
    tells(
        "actions.yaml",
        &|text| text.replace("- name: AuthMeOutput\n", "- name: AuthYouOutput\n"),
        "has the type \"AuthYouOutput\", and actions.graphql has not",
    );
    tells("actions.graphql", &|text| text + "type {", "is no GraphQL");
}

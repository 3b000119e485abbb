//! Plugins that are removed together with their data.

use serde_json::json;

use super::plugin_file::{changed, hello, rename};
use super::project::Project;

/// A plugin that may read the notes of `hello`.
fn reader() -> Vec<u8> {
    changed(|manifest| {
        rename(manifest, "reader");
        manifest["requires"]["capabilities"] = json!(["nself.db/1"]);
        manifest["requires"]["tables"] = json!([{"table": "hello.notes", "rights": ["select"]}]);
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_goes_when_that_is_asked_for_and_comes_back_empty() {
    let project = Project::served("").await;
    project.enable("hello", &hello());
    let host = project.start();
    let client = project.database().client().await;
    let count = async |sql: &str| -> i64 { client.query_one(sql, &[]).await.unwrap().get(0) };
    let schemas = "select count(*) from pg_namespace where nspname = 'hello'";
    let steps = "select count(*) from nself.migrations where owner = 'hello'";

    let remove = ["plugin", "remove", "hello", "--data", "--yes"];
    project.nself(&remove).refused(1, &["hello runs"]);
    project.nself(&["plugin", "disable", "hello"]).done();
    project
        .nself(&remove[..4])
        .refused(2, &["CONFIRMATION_NEEDED", "all data"]);
    assert_eq!(count(schemas).await, 1);
    let done = project.nself(&remove).done();
    assert_eq!(done.stdout, "removed hello and its data\n");
    assert_eq!((count(schemas).await, count(steps).await), (0, 0));
    let audited = "select count(*) from nself.audit_log where action = 'plugin.data_dropped'";
    assert_eq!(count(audited).await, 1);

    project.put("hello", &hello());
    project.nself(&["plugin", "enable", "hello"]).done();
    assert_eq!(count("select count(*) from hello.notes").await, 0);
    assert_eq!(host.caller().await.get("/hello/notes").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_others_stand_on_stays() {
    let project = Project::served("").await;
    project.enable("hello", &hello());
    let _host = project.start();
    project.put("reader", &reader());
    project.nself(&["plugin", "enable", "reader"]).done();
    project.nself(&["plugin", "disable", "hello"]).done();
    let client = project.database().client().await;
    let remove = || project.nself(&["plugin", "remove", "hello", "--data", "--yes"]);

    remove().refused(1, &["PLUGIN_NEEDED", "reader"]);
    project.nself(&["plugin", "disable", "reader"]).done();
    let view = "create view public.all_notes as select * from hello.notes";
    client.batch_execute(view).await.unwrap();
    remove().refused(1, &["PLUGIN_DATA", "all_notes"]);
    let kept = client.query("select * from hello.notes", &[]).await;
    assert!(kept.unwrap().is_empty(), "the table is there");
    let view = "drop view public.all_notes; create table public.marks (note_id bigint)";
    client.batch_execute(view).await.unwrap();
    remove().done();
    client
        .query("select * from public.marks", &[])
        .await
        .unwrap();
}

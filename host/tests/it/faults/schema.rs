//! Migrations of a plugin that do not work out.

use serde_json::{Value, json};

use crate::lifecycle::plugin_file::{changed, hello};
use crate::lifecycle::project::Project;

const FIRST: &str = "create table bad.things (id int primary key);";

fn version(version: &str, steps: &[(&str, &str)]) -> Vec<u8> {
    let step = |(number, (name, up)): (u32, &(&str, &str))| json!({"number": number, "name": name, "up": up, "down": "drop table bad.things;"});
    let steps: Vec<Value> = (1..).zip(steps).map(step).collect();
    changed(|manifest| {
        manifest["version"] = version.into();
        manifest["requires"]["capabilities"] =
            json!(["nself.clock/1", "nself.config/1", "nself.db/1"]);
        manifest["migrations"] = steps.into();
    })
}

/// The tables of the plugin's schema.
async fn tables(project: &Project) -> Vec<String> {
    let sql = "select table_name::text from information_schema.tables where table_schema = 'bad' order by 1";
    let client = project.database().client().await;
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_fails_or_was_edited_keeps_the_old_version_and_the_schema() {
    let project = Project::served("").await;
    project.enable("hello", &hello());
    project.enable("bad", &version("1.0.0", &[("things", FIRST)]));
    let host = project.start();
    assert_eq!(tables(&project).await, ["things"]);

    let half = "create table bad.others (id int); select 1 / 0;";
    let broken = [("things", FIRST), ("others", half)];
    project.put("bad", &version("1.1.0", &broken));
    project
        .nself(&["plugin", "upgrade", "bad"])
        .refused(1, &["others", "division by zero"]);
    assert_eq!(tables(&project).await, ["things"], "as before");

    let edited = "create table bad.things (id bigint primary key);";
    project.put("bad", &version("1.2.0", &[("things", edited)]));
    project
        .nself(&["plugin", "upgrade", "bad"])
        .refused(1, &["things", "edited"]);

    let mut caller = host.caller().await;
    let answer = caller.get("/bad/version").await;
    assert_eq!(answer.json()["data"], "1.0.0", "the old version serves on");

    // The same at a start: the accepted version cannot run, the others do.
    drop(host);
    project.put("bad", &version("1.1.0", &broken));
    project.nself(&["plugin", "disable", "bad"]).done();
    let host = project.start();
    let token = project.token();
    let mut caller = host.caller().await.with_token(&token);
    assert_eq!(caller.get("/hello/notes").await.status, 200);
    assert_eq!(caller.get("/bad/version").await.status, 404);
}

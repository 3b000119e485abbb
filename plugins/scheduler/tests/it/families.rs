//! The end of a family: its schedules go with it.

use std::fs;

use nself_plugin_testkit::eventually;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stage::{act, builder, count, create, nothing, show, until_count};

fn of_family(family: &str) -> Value {
    json!({"job": {"kind": "fixture-caller.nothing", "options": {"family_id": family}}})
}

#[tokio::test]
async fn schedules_of_a_family_that_is_gone_go_with_their_history_and_those_of_files_rest() {
    let directory = tempfile::tempdir().expect("a directory");
    let (gone, living) = (Uuid::now_v7(), Uuid::now_v7());
    let file = format!(
        "- name: kept-elsewhere\n  spec: \"0 0 1 1 *\"\n  target:\n    job: {{kind: fixture-caller.nothing, options: {{family_id: {gone}}}}}\n"
    );
    fs::write(directory.path().join("a.yaml"), &file).expect("it is written");
    let config = format!(
        "[plugins.scheduler.config]\nschedules_directory = {:?}\n",
        directory.path().display().to_string()
    );
    let host = builder().config(&config).start().await;
    let sql = host.sql().await;
    let other_spelling = gone.simple().to_string().to_uppercase();
    for (name, target) in [
        ("gone", of_family(&gone.to_string())),
        ("gone-as-well", of_family(&other_spelling)),
        ("living", of_family(&living.to_string())),
        ("nobodys", nothing()),
    ] {
        create(&host, name, "0 0 1 1 *", target, json!({})).await;
        act(&host, name, "run", json!({})).await;
    }
    act(&host, "kept-elsewhere", "run", json!({})).await;
    assert_eq!(count(&sql, "select count(*) from scheduler.fires").await, 5);

    let purged = "select nself.emit_event('family.purged', $1::uuid::text, '{}', $1)";
    sql.query(purged, &[&gone]).await.expect("it is told");
    until_count(
        &sql,
        "select count(*) from scheduler.schedules where name like 'gone%'",
        0,
    )
    .await;
    eventually("the one of a file rests", async || {
        let resting = show(&host, "kept-elsewhere").await;
        (resting["state"] == "paused").then_some(())
    })
    .await;
    let resting = show(&host, "kept-elsewhere").await;
    assert_eq!(resting["pause_reason"], "the family of its jobs is gone");
    assert_eq!(count(&sql, "select count(*) from scheduler.fires").await, 2);
    for name in ["living", "nobodys"] {
        assert_eq!(show(&host, name).await["state"], "active", "{name}");
    }
    // What stands in the files is read again, and rests all the same.
    let apply = host.post("/v1/scheduler/apply").operator().json(&json!({}));
    assert_eq!(apply.send().await.status, 200);
    assert_eq!(show(&host, "kept-elsewhere").await["state"], "paused");
    let noted = "select count(*) from nself.audit_log where action = 'scheduler.family_forgotten'";
    assert_eq!(count(&sql, noted).await, 1);
    host.stop().await;
}

//! What is looked after beside the runs: what grows old, and the end of a family. And the functions that plugins offer to workflows.

use nself_plugin_api::manifest::Role;
use nself_plugin_testkit::{TestHost, within};
use serde_json::json;
use uuid::Uuid;

use crate::stage::{ask, builder, definition, home, host, put, start, until};

/// Runs a task of the plugin, as the host does on its period.
async fn run_task(host: &TestHost, name: &str) {
    let running = host.running("orchestrator").await;
    let tasks = &running.manifest().tasks;
    let number = tasks.iter().position(|task| task.name == name);
    let number = number.and_then(|number| u32::try_from(number).ok());
    let ran = running.instance().run_task(number.expect("a task"));
    within(name, ran).await.expect("the task runs");
}

async fn count(host: &TestHost, query: &str) -> i64 {
    let row = host.sql().await.query_one(query, &[]).await;
    row.expect("it is asked").get(0)
}

#[tokio::test]
async fn runs_and_removed_definitions_go_when_they_are_old_and_what_runs_stays_with_its_own() {
    let host = host().await;
    let sql = host.sql().await;
    for (name, tasks) in [
        ("old", "  - a:\n      set: {b: 1}\n"),
        ("young", "  - a:\n      set: {b: 1}\n"),
        ("open", "  - a:\n      wait: {days: 400}\n"),
    ] {
        put(&host, name, &definition(name, "", tasks)).await;
        let run = start(&host, name, json!({}), 0).await;
        let status = if name == "open" {
            "waiting"
        } else {
            "completed"
        };
        until(&host, &run["id"], status).await;
        let path = format!("/v1/workflows/test/{name}/1.0.0");
        assert_eq!(host.delete(&path).operator().send().await.status, 204);
    }
    sql.batch_execute(
        "update orchestrator.definitions set removed_at = removed_at - interval '31 days'; \
         update orchestrator.instances set ended_at = ended_at - interval '31 days' where name = 'old'; \
         insert into orchestrator.events (source, event_id, type, is_trusted, event, received_at) values \
             ('/a', '1', 'x', true, '{}', now() - interval '2 days'), ('/a', '2', 'x', true, '{}', now())",
    )
    .await
    .expect("they grow old");
    let home = home(&host).await;
    for name in ["old.command", "young.command", "open.command"] {
        ask(&host, &home, json!({"name": name})).await;
    }
    sql.batch_execute(
        "update orchestrator.device_commands set status = 'cancelled', ended_at = now() where name <> 'open.command'; \
         update orchestrator.device_commands set ended_at = now() - interval '31 days' where name = 'old.command'",
    )
    .await
    .expect("they end");
    run_task(&host, "prune").await;
    for (query, kept) in [
        (
            "select string_agg(name, ',' order by name) from orchestrator.instances",
            "open,young",
        ),
        (
            "select string_agg(name, ',' order by name) from orchestrator.definitions",
            "open,young",
        ),
        (
            "select string_agg(name, ',' order by name) from orchestrator.device_commands",
            "open.command,young.command",
        ),
        (
            "select string_agg(event_id, ',') from orchestrator.events where source = '/a'",
            "2",
        ),
    ] {
        let left: String = sql.query_one(query, &[]).await.expect("it is asked").get(0);
        assert_eq!(left, kept, "{query}");
    }
    let orphans = "select count(*) from orchestrator.history h where not exists (select from orchestrator.instances i where i.id = h.instance_id)";
    assert_eq!(count(&host, orphans).await, 0);
    host.stop().await;
}

#[tokio::test]
async fn with_a_family_its_runs_and_events_go_and_those_of_another_stay() {
    let host = host().await;
    let sql = host.sql().await;
    let tasks = "  - hear:\n      listen:\n        to:\n          one:\n            with: {type: org.example.never}\n";
    put(&host, "hear", &definition("hear", "", tasks)).await;
    let (gone, living) = (Uuid::now_v7(), Uuid::now_v7());
    for family in [gone, living] {
        let request = host.post("/v1/workflows/test/hear/latest/runs");
        let started = request
            .role(Role::Owner, family)
            .json(&json!({}))
            .send()
            .await;
        let started = started.expect_status(201).data();
        until(&host, &started["id"], "waiting").await;
        let event =
            json!({"specversion": "1.0", "id": "1", "source": "/a", "type": "org.example.other"});
        let request = host.post("/v1/events").role(Role::Owner, family);
        let request = request.header("content-type", "application/cloudevents+json");
        assert_eq!(request.body(event.to_string()).send().await.status, 200);
    }
    let purged = "select nself.emit_event('family.purged', $1::uuid::text, '{}', $1)";
    sql.query(purged, &[&gone]).await.expect("it is told");
    nself_plugin_testkit::eventually("the family is forgotten", async || {
        let noted =
            "select count(*) from nself.audit_log where action = 'orchestrator.family_forgotten'";
        (count(&host, noted).await == 1).then_some(())
    })
    .await;
    for table in ["instances", "events"] {
        let query = format!(
            "select count(*) filter (where family_id = $1), count(*) filter (where family_id = $2) from orchestrator.{table}"
        );
        let row = sql
            .query_one(&query, &[&gone, &living])
            .await
            .expect("it is asked");
        assert_eq!(
            (row.get::<_, i64>(0), row.get::<_, i64>(1)),
            (0, 1),
            "{table}"
        );
    }
    assert_eq!(
        count(&host, "select count(*) from orchestrator.needs").await,
        1
    );
    host.stop().await;
}

#[tokio::test]
async fn a_job_of_a_workflow_exists_exactly_once_and_is_its_familys() {
    let host = host().await;
    let sql = host.sql().await;
    let tasks = "  - first:\n      call: job@default\n      with:\n        kind: nobody.knows\n        payload: {cup: '${ $workflow.input.cup }'}\n        options: {priority: 2}\n  - wrong:\n      try:\n        - second:\n            call: job@default\n            with: {payload: {}}\n      catch: {as: error, do: [{told: {set: {problem: '${ $error.detail }'}}}]}\n";
    put(&host, "job", &definition("job", "", tasks)).await;
    let family = Uuid::now_v7();
    let request = host
        .post("/v1/workflows/test/job/latest/runs")
        .role(Role::Owner, family);
    let started = request.json(&json!({"input": {"cup": 3}})).send().await;
    let started = started.expect_status(201).data();
    let ended = until(&host, &started["id"], "completed").await;
    assert!(
        ended["output"]["problem"].to_string().contains("with.kind"),
        "{ended}"
    );
    let row = sql
        .query_one(
            "select count(*), min(j.payload ->> 'cup'), min(j.family_id::text) from jobs.jobs j where j.kind = 'nobody.knows'",
            &[],
        )
        .await
        .expect("the job");
    let (jobs, cup, of): (i64, String, String) = (row.get(0), row.get(1), row.get(2));
    assert_eq!((jobs, cup, of), (1, "3".to_owned(), family.to_string()));
    host.stop().await;
}

#[tokio::test]
async fn a_capability_is_called_where_the_operator_names_it_and_refused_elsewhere() {
    let tasks = "  - queues:\n      call: capability@default\n      with: {id: fixture.echo/1, method: say, payload: {cup: 3}}\n";
    for (config, status) in [
        (
            "[plugins.orchestrator]\ncapabilities = [\"fixture.echo/1\"]\n",
            "completed",
        ),
        ("", "faulted"),
    ] {
        let host = builder()
            .plugin("nself-plugin-fixture")
            .config(config)
            .start()
            .await;
        put(&host, "call", &definition("call", "", tasks)).await;
        let started = start(&host, "call", json!({}), 0).await;
        let ended = until(&host, &started["id"], status).await;
        if status == "completed" {
            assert_eq!(ended["output"], json!({"cup": 3}), "{ended}");
        } else {
            assert!(
                ended["error"]["detail"]
                    .to_string()
                    .contains("capabilities"),
                "{ended}"
            );
        }
        host.stop().await;
    }
}

//! Workflows that run: what they do, what is kept of it, and who may see it.

use nself_plugin_api::manifest::Role;
use nself_plugin_testkit::eventually;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stage::{
    Ledger, act, builder, definition, fetch, history, home, host, host_with, put, run, start, until,
};

#[tokio::test]
async fn a_definition_keeps_its_version_and_its_faults_have_lines() {
    let host = host().await;
    let text = definition("tea", "", "  - boil:\n      set: {hot: true}\n");
    put(&host, "tea", &text).await;
    // The same again is no change.
    put(&host, "tea", &text).await;
    let path = "/v1/workflows/test/tea/1.0.0";
    let other = host
        .put(path)
        .operator()
        .header("content-type", "application/yaml")
        .body(text.replace("true}", "false}"))
        .send()
        .await;
    assert_eq!(other.code(), "WORKFLOW_IMMUTABLE", "{}", other.text());
    let shown = host
        .get("/v1/workflows/test/tea/latest")
        .operator()
        .send()
        .await;
    assert_eq!(shown.data()["source"], json!(text));

    let broken = text.replace("set: {hot: true}", "sett: {}");
    let refused = host
        .post("/v1/workflow-definitions/validate")
        .operator()
        .header("content-type", "application/yaml")
        .body(broken)
        .send()
        .await;
    assert_eq!(refused.code(), "WORKFLOW_INVALID", "{}", refused.text());
    let fault = &refused.json()["details"]["faults"][0];
    assert!(
        fault["line"].as_u64().is_some_and(|line| line >= 9),
        "{fault}"
    );

    let removed = host.delete(path).operator().send().await;
    assert_eq!(removed.status, 204);
    let gone = host.get(path).operator().send().await;
    assert_eq!(gone.code(), "WORKFLOW_NOT_FOUND");
    host.stop().await;
}

#[tokio::test]
async fn a_run_ends_with_its_output_and_has_a_history() {
    let host = host().await;
    let tasks = "  - double:\n      set: {twice: '${ .n * 2 }'}\n  - name:\n      set: {text: '${ \"it is \" + (.twice | tostring) }'}\n";
    put(&host, "double", &definition("double", "", tasks)).await;
    let ended = start(&host, "double", json!({"n": 21}), 25).await;
    assert_eq!(
        (&ended["status"], &ended["output"]),
        (&json!("completed"), &json!({"text": "it is 42"})),
        "{ended}"
    );
    let happened = history(&host, &ended["id"]).await;
    let completed = happened.iter().filter(|one| one["status"] == "completed");
    let names: Vec<&str> = completed.filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, ["double", "name"], "{happened:?}");
    let mut events = host
        .get(&format!(
            "/v1/workflow-runs/{}/watch",
            ended["id"].as_str().expect("an id")
        ))
        .operator()
        .events()
        .await;
    let first = events.next().await.expect("its history");
    let last = events.next().await.expect("its end");
    assert_eq!((&*first.event, &*last.event), ("progress", "ended"));
    host.stop().await;
}

#[tokio::test]
async fn a_key_starts_a_run_once() {
    let host = host().await;
    put(
        &host,
        "once",
        &definition("once", "", "  - a:\n      set: {b: 1}\n"),
    )
    .await;
    let start = async |input: Value| {
        host.post("/v1/workflows/test/once/1.0.0/runs")
            .operator()
            .header("idempotency-key", "\"k\"")
            .json(&json!({"input": input}))
            .send()
            .await
    };
    let (first, again) = (start(json!({})).await.data(), start(json!({})).await.data());
    assert_eq!(first["id"], again["id"]);
    assert_eq!(start(json!({"c": 1})).await.code(), "WORKFLOW_KEY_USED");
    host.stop().await;
}

#[tokio::test]
async fn runs_are_found_by_their_key_whatever_they_are_of_and_by_nobody_elses_family() {
    let host = host().await;
    for (name, tasks) in [
        ("pour", "  - a:\n      set: {b: 1}\n"),
        ("brew", "  - a:\n      wait: {days: 1}\n"),
    ] {
        put(&host, name, &definition(name, "", tasks)).await;
    }
    let (ours, theirs) = (Uuid::now_v7(), Uuid::now_v7());
    for (name, key, family) in [
        ("pour", "order-7", ours),
        ("brew", "order-7", ours),
        ("pour", "order-8", ours),
        ("pour", "order-7", theirs),
    ] {
        let path = format!("/v1/workflows/test/{name}/1.0.0/runs");
        let request = host.post(&path).role(Role::Owner, family);
        let request = request.header("idempotency-key", key).json(&json!({}));
        let started = request.send().await.expect_status(201).data();
        assert_eq!(started["key"], key);
    }
    let found = async |query: &str, family: Option<Uuid>| {
        let request = host.get(&format!("/v1/workflow-runs?{query}"));
        let request = match family {
            Some(family) => request.role(Role::Owner, family),
            None => request.operator(),
        };
        let runs = request.send().await.expect_status(200).data();
        let runs = runs.as_array().expect("a list").iter();
        let name = |run: &Value| format!("{} {}", run["name"], run["key"]).replace('"', "");
        runs.map(name).collect::<Vec<_>>()
    };
    for (query, family, expected) in [
        (
            "key=order-7",
            Some(ours),
            vec!["brew order-7", "pour order-7"],
        ),
        ("key=order-7", Some(theirs), vec!["pour order-7"]),
        ("key=order-8", Some(theirs), vec![]),
        (
            "key=order-7",
            None,
            vec!["pour order-7", "brew order-7", "pour order-7"],
        ),
        ("key=order-7&status=waiting", None, vec!["brew order-7"]),
        ("key=order", None, vec![]),
    ] {
        assert_eq!(found(query, family).await, expected, "{query}");
    }
    host.stop().await;
}

#[tokio::test]
async fn families_start_what_they_may_and_see_their_own_runs_alone() {
    let host = host().await;
    let text = definition("own", "", "  - a:\n      set: {b: 1}\n");
    put(&host, "own", &text).await;
    let closed = text
        .replace("name: own", "name: closed")
        .replace("families: true", "families: false");
    put(&host, "closed", &closed).await;
    let (ours, theirs) = (Uuid::now_v7(), Uuid::now_v7());
    let ask = async |name: &str, role: Role, family: Uuid| {
        host.post(&format!("/v1/workflows/test/{name}/latest/runs"))
            .role(role, family)
            .json(&json!({}))
            .send()
            .await
    };
    assert_eq!(
        ask("closed", Role::Owner, ours).await.code(),
        "WORKFLOW_NOT_FOUND"
    );
    assert_eq!(
        ask("own", Role::ChildMember, ours).await.code(),
        "WORKFLOW_NOT_FOUND"
    );
    let started = ask("own", Role::AdultMember, ours)
        .await
        .expect_status(201)
        .data();
    assert_eq!(started["family_id"], json!(ours));
    let path = format!(
        "/v1/workflow-runs/{}",
        started["id"].as_str().expect("an id")
    );
    for (role, family, status) in [
        (Role::Owner, ours, 200),
        (Role::Owner, theirs, 404),
        (Role::ChildMember, ours, 404),
        (Role::Device, ours, 404),
    ] {
        for path in [path.clone(), format!("{path}/history")] {
            let answer = host.get(&path).role(role, family).send().await;
            assert_eq!(
                answer.status,
                status,
                "{path} as {} of {family}",
                role.name()
            );
        }
    }
    for action in ["cancel", "suspend", "resume", "retry"] {
        let answer = host
            .post(&format!("{path}/{action}"))
            .role(Role::Owner, theirs)
            .send()
            .await;
        assert_eq!(answer.code(), "WORKFLOW_RUN_NOT_FOUND", "{action}");
    }
    let listed = host
        .get("/v1/workflow-runs")
        .role(Role::Owner, theirs)
        .send()
        .await;
    assert_eq!(listed.data(), json!([]));
    host.stop().await;
}

#[tokio::test]
async fn a_call_carries_a_key_that_stays_when_it_is_tried_again() {
    let ledger = Ledger::open(&[503, 503, 200]).await;
    let config = format!(
        "[plugins.orchestrator]\negress = [\"{}\"]\n",
        ledger.address
    );
    let host = builder().config(&config).start().await;
    let tasks = format!(
        "  - patient:\n      try:\n        - ask:\n            call: http\n            with:\n              method: post\n              endpoint: http://{}/tea\n              body: {{for: two}}\n      \
         catch:\n        errors:\n          with: {{status: 503}}\n        retry:\n          delay: {{milliseconds: 10}}\n          backoff: {{constant: {{}}}}\n          limit: {{attempt: {{count: 5}}}}\n",
        ledger.address
    );
    put(&host, "call", &definition("call", "", &tasks)).await;
    let ended = start(&host, "call", json!({}), 25).await;
    let ended = until(&host, &ended["id"], "completed").await;
    assert_eq!(ended["output"], json!({"tea": "ready"}), "{ended}");
    let seen = ledger.seen();
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert!(
        !seen[0].0.is_empty() && seen.iter().all(|(key, _)| *key == seen[0].0),
        "{seen:?}"
    );
    host.stop().await;
}

#[tokio::test]
async fn a_secret_is_sent_and_stands_nowhere() {
    let ledger = Ledger::open(&[200]).await;
    let config = format!(
        "[plugins.orchestrator]\negress = [\"{}\"]\n",
        ledger.address
    );
    let host = builder()
        .config(&config)
        .secret(
            "workflow-secrets",
            "{\"shop\": {\"token\": \"never-shown-4711\"}}",
        )
        .start()
        .await;
    let tasks = format!(
        "  - ask:\n      call: http\n      with:\n        method: get\n        endpoint:\n          uri: http://{}/tea\n          authentication:\n            bearer:\n              token: '${{ $secrets.shop.token }}'\n",
        ledger.address
    );
    let text = definition("secret", "use:\n  secrets: [shop]\n", &tasks);
    put(&host, "secret", &text).await;
    let ended = start(&host, "secret", json!({}), 25).await;
    until(&host, &ended["id"], "completed").await;
    let (_, head) = ledger.seen().remove(0);
    assert!(head.contains("Bearer never-shown-4711"), "{head}");
    let sql = host.sql().await;
    for table in ["instances", "history", "needs", "outcomes", "events"] {
        let kept = format!(
            "select count(*) from orchestrator.{table} t where t::text like '%shown-4711%'"
        );
        let kept: i64 = sql.query_one(&kept, &[]).await.expect("it is asked").get(0);
        assert_eq!(kept, 0, "{table}");
    }
    let state = "select count(*) from orchestrator.instances i where position('shown-4711' in convert_from(i.state, 'UTF8')) > 0";
    let state: i64 = sql.query_one(state, &[]).await.expect("it is asked").get(0);
    assert_eq!(state, 0);
    assert!(!host.log().contains("shown-4711"));
    host.stop().await;
}

#[tokio::test]
async fn a_child_runs_and_its_end_is_its_parents() {
    let host = host().await;
    put(
        &host,
        "child",
        &definition("child", "", "  - add:\n      set: {sum: '${ .a + .b }'}\n"),
    )
    .await;
    let tasks = "  - ask:\n      run:\n        workflow:\n          namespace: test\n          name: child\n          version: latest\n          input: {a: 2, b: 3}\n  - tell:\n      set: {was: '${ .sum }'}\n";
    put(&host, "parent", &definition("parent", "", tasks)).await;
    let ended = start(&host, "parent", json!({}), 25).await;
    let ended = until(&host, &ended["id"], "completed").await;
    assert_eq!(ended["output"], json!({"was": 5}));
    host.stop().await;
}

#[tokio::test]
async fn a_workflow_commands_a_device_and_goes_on_with_what_it_says() {
    let host = host().await;
    let home = home(&host).await;
    let tasks = format!(
        "  - open:\n      call: device-command@default\n      with:\n        device: {}\n        name: door.open\n  - tell:\n      set: {{was: '${{ .result.angle }}'}}\n",
        home.device
    );
    put(&host, "door", &definition("door", "", &tasks)).await;
    let started = start(&host, "door", json!({}), 0).await;
    let got = eventually("the device is asked", async || {
        fetch(&host, &home, 5).await.pop()
    })
    .await;
    let id = got["id"].as_str().expect("an id");
    let said = host
        .post(&format!("/v1/device-commands/{id}/outcome"))
        .token(&home.device_token)
        .json(&json!({"done": true, "result": {"angle": 90}}))
        .send()
        .await;
    assert_eq!(said.status, 200, "{}", said.text());
    let ended = until(&host, &started["id"], "completed").await;
    assert_eq!(ended["output"], json!({"was": 90}));
    host.stop().await;
}

#[tokio::test]
async fn what_is_larger_than_the_limit_ends_with_an_error_that_says_so() {
    let host = host_with("state_bytes_max = 20000").await;
    put(
        &host,
        "large",
        &definition("large", "", "  - a:\n      set: {all: '${ . }'}\n"),
    )
    .await;
    let started = start(&host, "large", json!({"text": "x".repeat(30_000)}), 25).await;
    let ended = until(&host, &started["id"], "faulted").await;
    assert!(
        ended["error"].to_string().contains("state_bytes_max"),
        "{ended}"
    );
    assert_eq!(
        act(&host, &ended["id"], "cancel").await.code(),
        "WORKFLOW_RUN_STATE"
    );
    assert_eq!(run(&host, &ended["id"]).await["status"], "faulted");
    host.stop().await;
}

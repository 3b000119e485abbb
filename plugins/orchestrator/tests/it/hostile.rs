//! What should not happen and does: large data, expressions that fail when it is too late to refuse them, loops without end, and
//! secrets that go wherever a workflow can send them.

use nself_plugin_testkit::TestHost;
use serde_json::{Value, json};

use crate::stage::{
    Ledger, builder, count, definition, history, host, host_with, put, run, send, start, until,
};

const MIB: usize = 1 << 20;

async fn host_that_reaches(ledger: &Ledger) -> TestHost {
    let config = format!(
        "[plugins.orchestrator]\negress = [\"{}\"]\n",
        ledger.address
    );
    builder()
        .config(&config)
        .secret(
            "workflow-secrets",
            "{\"shop\": {\"token\": \"never-shown-4711\"}}",
        )
        .start()
        .await
}

#[tokio::test]
async fn a_mebibyte_comes_in_goes_through_calls_children_and_events_and_comes_out() {
    let ledger = Ledger::open(&[200]).await;
    let host = host_that_reaches(&ledger).await;
    put(
        &host,
        "child",
        &definition("child", "", "  - same:\n      set: {text: '${ .text }'}\n"),
    )
    .await;
    let tasks = format!(
        "  - call:\n      call: http\n      with: {{method: post, endpoint: 'http://{}/echo', body: {{text: '${{ .text }}'}}}}\n      output: {{as: '{{text: $input.text, bytes: .bytes}}'}}\n  - rest:\n      wait: {{milliseconds: 10}}\n  - ask:\n      run: {{workflow: {{namespace: test, name: child, version: latest, input: {{text: '${{ .text }}'}}}}}}\n      output: {{as: '{{text: .text, bytes: $input.bytes}}'}}\n  - hear:\n      listen: {{to: {{one: {{with: {{type: org.example.large}}}}}}}}\n      output: {{as: '{{text: $input.text, bytes: $input.bytes, heard: (.[0].text | length)}}'}}\n",
        ledger.address
    );
    put(&host, "large", &definition("large", "", &tasks)).await;
    let text = "x".repeat(MIB);
    let started = start(&host, "large", json!({"text": text}), 0).await;
    let event = json!({"specversion": "1.0", "id": "1", "source": "/kitchen", "type": "org.example.large", "data": {"text": text}});
    send(&host, &event).await.expect_status(200).data();
    let ended = until(&host, &started["id"], "completed").await;
    let output = &ended["output"];
    assert_eq!(output["text"], json!(text));
    assert_eq!(output["heard"], json!(MIB));
    let sent = output["bytes"].as_u64().expect("it was counted");
    assert!(sent > MIB as u64, "{sent}");
    // The largest that may come in, and one byte too many.
    let more = json!({"input": {"text": "x".repeat(4 * MIB)}});
    let refused = host
        .post("/v1/workflows/test/large/latest/runs")
        .operator()
        .json(&more)
        .send()
        .await;
    assert_eq!(refused.status, 413, "{}", refused.text());
    host.stop().await;
}

#[tokio::test]
async fn an_expression_that_fails_when_it_is_evaluated_is_an_error_that_can_be_caught() {
    let host = host().await;
    let caught = "  - attempt:\n      try:\n        - add: {set: {sum: '${ .a + .b }'}}\n      catch:\n        errors: {with: {type: 'https://serverlessworkflow.io/spec/1.0.0/errors/expression'}}\n        as: problem\n        do:\n          - tell: {set: {status: '${ $problem.status }', at: '${ $problem.instance }'}}\n";
    put(&host, "caught", &definition("caught", "", caught)).await;
    let input = json!({"a": {"never": "shown"}, "b": 1});
    let ended = start(&host, "caught", input.clone(), 25).await;
    let ended = until(&host, &ended["id"], "completed").await;
    assert_eq!(
        ended["output"],
        json!({"status": 400, "at": "/do/0/attempt/try/0/add"})
    );
    for (name, task, instance) in [
        ("set", "set: {sum: '${ .a + .b }'}", "/do/0/task"),
        ("if", "{if: '(.a + .b) > 1', set: {n: 1}}", "/do/0/task"),
        ("error", "set: {n: '${ error(\"no\") }'}", "/do/0/task"),
    ] {
        let task = if task.starts_with('{') {
            format!("  - task: {task}\n")
        } else {
            format!("  - task:\n      {task}\n")
        };
        put(&host, name, &definition(name, "", &task)).await;
        let started = start(&host, name, input.clone(), 0).await;
        let ended = until(&host, &started["id"], "faulted").await;
        let error = &ended["error"];
        let kind = "https://serverlessworkflow.io/spec/1.0.0/errors/expression";
        assert_eq!(
            (&error["type"], &error["instance"]),
            (&json!(kind), &json!(instance)),
            "{name}: {error}"
        );
        let last = history(&host, &started["id"]).await.pop();
        assert_eq!(last.expect("its history")["status"], "faulted", "{name}");
    }
    host.stop().await;
}

#[tokio::test]
async fn loops_without_end_meet_a_limit_and_their_neighbours_go_on() {
    let host = host_with("history_max = 300\nbranches_max = 20").await;
    let loops = [
        (
            "again",
            "  - again:\n      set: {n: 1}\n      then: again\n",
        ),
        (
            "call-itself",
            "  - deeper:\n      run: {workflow: {namespace: test, name: call-itself, version: latest}}\n",
        ),
        (
            "slow",
            "  - rest:\n      wait: {milliseconds: 1}\n      then: rest\n",
        ),
        (
            "wide",
            "  - each:\n      for: {each: x, in: '[range(0; 100000)]'}\n      do:\n        - one: {set: {n: 1}}\n",
        ),
    ];
    let mut runs = Vec::new();
    for (name, tasks) in loops {
        put(&host, name, &definition(name, "", tasks)).await;
        let started = start(&host, name, json!({}), 0).await;
        runs.push((name, started["id"].clone()));
    }
    put(
        &host,
        "quick",
        &definition("quick", "", "  - a:\n      set: {b: 1}\n"),
    )
    .await;
    let quick = start(&host, "quick", json!({}), 25).await;
    until(&host, &quick["id"], "completed").await;
    for (name, id) in runs {
        let ended = until(&host, &id, "faulted").await;
        assert_eq!(ended["error"]["status"], 500, "{name}: {ended}");
    }
    let sql = host.sql().await;
    let open = "select count(*) from orchestrator.instances where ended_at is null";
    crate::stage::until_count(&sql, open, 0).await;
    assert_eq!(
        count(&sql, "select count(*) from orchestrator.needs").await,
        0
    );
    host.stop().await;
}

#[tokio::test]
async fn a_secret_reaches_whom_it_is_sent_to_and_is_kept_nowhere() {
    let ledger = Ledger::open(&[200]).await;
    let host = host_that_reaches(&ledger).await;
    put(
        &host,
        "child",
        &definition("child", "", "  - same:\n      set: {given: '${ . }'}\n"),
    )
    .await;
    let tasks = format!(
        "  - ask:\n      call: http\n      with: {{method: post, endpoint: '${{ \"http://{0}/echo?key=\" + $secrets.shop.token }}', headers: {{x-token: '${{ $secrets.shop.token }}'}}, body: {{token: '${{ $secrets.shop.token }}'}}, output: response}}\n  - say:\n      emit: {{event: {{with: {{source: 'https://example.org/shop', type: org.example.said, data: {{token: '${{ $secrets.shop.token }}'}}}}}}}}\n  - child:\n      run: {{workflow: {{namespace: test, name: child, version: latest, input: {{token: '${{ $secrets.shop.token }}'}}}}}}\n  - job:\n      call: job@default\n      with: {{kind: jobs.http_request, payload: {{url: 'http://{0}/job', body: {{token: '${{ $secrets.shop.token }}'}}}}}}\n  - attempt:\n      try:\n        - unheard: {{call: http, with: {{method: get, endpoint: '${{ \"http://127.0.0.1:1/\" + $secrets.shop.token }}'}}}}\n      catch:\n        as: problem\n        do:\n          - note: {{set: {{problem: '${{ $problem }}'}}}}\n  - fail:\n      raise: {{error: {{type: 'https://example.org/x', status: 418, title: '${{ $secrets.shop.token }}', detail: '${{ \"it was \" + $secrets.shop.token }}'}}}}\n",
        ledger.address
    );
    put(
        &host,
        "secret",
        &definition("secret", "use:\n  secrets: [shop]\n", &tasks),
    )
    .await;
    let started = start(&host, "secret", json!({}), 0).await;
    let ended = until(&host, &started["id"], "faulted").await;
    assert_eq!(ended["error"]["status"], 418, "{ended}");
    let heads: Vec<String> = ledger.seen().into_iter().map(|(_, head)| head).collect();
    let asked = heads
        .iter()
        .find(|head| head.contains("/echo"))
        .expect("it was asked");
    assert_eq!(asked.matches("never-shown-4711").count(), 2, "{asked}");

    let shown = run(&host, &started["id"]).await.to_string()
        + &Value::from(history(&host, &started["id"]).await).to_string();
    assert!(!shown.contains("shown-4711"), "{shown}");
    assert!(
        shown.contains("\u{27e6}secret:shop/token\u{27e7}"),
        "{shown}"
    );
    nowhere_in_the_database(&host, "shown-4711").await;
    assert!(!host.log().contains("shown-4711"));
    host.stop().await;
}

/// No row of any table of the plugins and the host has this text in it.
async fn nowhere_in_the_database(host: &TestHost, text: &str) {
    let sql = host.sql().await;
    let tables = "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace \
                  where c.relkind = 'r' and n.nspname in ('orchestrator', 'jobs', 'nself', 'public')";
    let rows = sql.query(tables, &[]).await.expect("tables");
    assert!(rows.len() > 20, "{} tables", rows.len());
    for row in rows {
        let table: &str = row.get(0);
        let kept = format!("select count(*) from {table} t where t::text like '%{text}%'");
        assert_eq!(count(&sql, &kept).await, 0, "{table}");
    }
    let states = format!(
        "select count(*) from orchestrator.instances i where convert_from(i.state, 'UTF8') like '%{text}%'"
    );
    assert_eq!(count(&sql, &states).await, 0, "a state");
}

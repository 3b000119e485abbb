//! What a run is at: the tasks that are under way, and what each of them waits for.

use nself_plugin_testkit::{TestHost, eventually};
use serde_json::{Value, json};

use crate::stage::{
    Gate, Home, Ledger, act, builder, definition, ended, fetch, history, home, host, put, run,
    send, start, until, until_count,
};

/// A run once it waits for so many things.
async fn waiting(host: &TestHost, id: &Value, amount: usize) -> Value {
    eventually(&format!("{id} waits for {amount} things"), async || {
        let found = run(host, id).await;
        let waits = found["waits_for"].as_array().map_or(0, Vec::len);
        (waits == amount).then_some(found)
    })
    .await
}

/// What the task at a position waits for.
fn of<'a>(run: &'a Value, position: &str) -> &'a Value {
    let all = run["waits_for"].as_array().expect("a list");
    let found = all.iter().find(|one| one["position"] == position);
    found.unwrap_or_else(|| panic!("{position} in {run}"))
}

/// A host, and a run on it whose branches wait for everything that there is to wait for.
struct Wide {
    host: TestHost,
    home: Home,
    id: Value,
    ledger: Ledger,
    /// Keeps its request open.
    gate: Gate,
}

impl Wide {
    async fn start() -> Self {
        let ledger = Ledger::open(&[200]).await;
        let gate = ledger.hold("/boil");
        let config = format!(
            "[plugins.orchestrator]\negress = [\"{}\"]\n",
            ledger.address
        );
        let host = builder().config(&config).start().await;
        let home = home(&host).await;
        let rest = "  - rest: {wait: {days: 30}}\n";
        put(&host, "child", &definition("child", "", rest)).await;
        let tasks = format!(
            "  - wide:\n      fork:\n        branches:\n          - rest: {{wait: {{days: 30}}}}\n          - hear: {{listen: {{to: {{one: {{with: {{type: org.example.tea, subject: cup}}}}}}}}}}\n          - boil: {{call: http, with: {{method: get, endpoint: 'http://{}/boil'}}}}\n          - ask: {{run: {{workflow: {{namespace: test, name: child, version: latest}}}}}}\n          - ring: {{call: device-command@default, with: {{device: '{}', name: bell.ring}}}}\n",
            ledger.address, home.device
        );
        put(&host, "wide", &definition("wide", "", &tasks)).await;
        let id = start(&host, "wide", json!({}), 0).await["id"].clone();
        waiting(&host, &id, 5).await;
        eventually("the request is under way", async || {
            let found = run(&host, &id).await;
            let is_bound = !of(&found, "/wide[4]/ring")["command_id"].is_null();
            (!ledger.seen().is_empty() && is_bound).then_some(())
        })
        .await;
        Self {
            host,
            home,
            id,
            ledger,
            gate,
        }
    }

    /// The command of its last branch.
    async fn command(&self, run: &Value) -> Value {
        let id = &of(run, "/wide[4]/ring")["command_id"];
        let path = format!("/v1/device-commands/{}", id.as_str().expect("an id"));
        self.host.get(&path).operator().send().await.data()
    }
}

#[tokio::test]
async fn each_branch_says_its_task_and_what_it_waits_for() {
    let wide = Wide::start().await;
    let (host, id) = (&wide.host, &wide.id);
    let found = run(host, id).await;

    let current = found["current"].as_array().expect("a list");
    let names: Vec<&str> = current
        .iter()
        .filter_map(|task| task["name"].as_str())
        .collect();
    assert_eq!(names, ["wide", "rest", "hear", "boil", "ask", "ring"]);
    assert_eq!(
        (&current[1]["reference"], &current[1]["attempt"]),
        (&json!("/do/0/wide/fork/branches/0/rest"), &json!(1)),
        "{found}"
    );
    let timer = of(&found, "/wide[0]/rest");
    assert_eq!(
        (&timer["kind"], &timer["purpose"]),
        (&json!("timer"), &json!("task"))
    );
    assert!(
        timer["due_at"].as_str() > timer["since"].as_str(),
        "{timer}"
    );
    let event = of(&found, "/wide[1]/hear");
    assert_eq!(
        (&event["kind"], &event["events"]),
        (
            &json!("event"),
            &json!([{"type": "org.example.tea", "subject": "cup"}])
        )
    );
    let call = of(&found, "/wide[2]/boil");
    assert_eq!(
        (&call["kind"], &call["job_state"]),
        (&json!("call"), &json!("running")),
        "{call}"
    );
    let child = of(&found, "/wide[3]/ask");
    assert_eq!(child["kind"], "child");
    let child = run(host, &child["run_id"]).await;
    assert_eq!((&child["name"], &child["parent_id"]), (&json!("child"), id));
    assert_eq!(wide.command(&found).await["name"], "bell.ring");
    drop(wide.gate);
    wide.host.stop().await;
}

#[tokio::test]
async fn who_cancels_a_run_cancels_what_each_of_its_branches_waits_for() {
    let wide = Wide::start().await;
    let (host, id) = (&wide.host, &wide.id);
    let before = run(host, id).await;
    let child = &of(&before, "/wide[3]/ask")["run_id"];
    assert_eq!(act(host, id, "cancel").await.status, 200);
    until(host, id, "cancelled").await;
    until(host, child, "cancelled").await;
    assert_eq!(wide.command(&before).await["status"], "cancelled");
    assert!(fetch(host, &wide.home, 0).await.is_empty());

    let sql = host.sql().await;
    until_count(&sql, "select count(*) from orchestrator.needs", 0).await;
    let asleep = "select count(*) from jobs.jobs where state = 'scheduled'";
    until_count(&sql, asleep, 0).await;
    // What comes after all is nobody's: an event, and the answer to the request that was under way.
    let tea = json!({"specversion": "1.0", "id": "1", "source": "https://example.org", "type": "org.example.tea", "subject": "cup"});
    assert_eq!(send(host, &tea).await.status, 200);
    drop(wide.gate);
    let at_work = "select count(*) from jobs.jobs where state = 'running'";
    until_count(&sql, at_work, 0).await;
    assert_eq!(wide.ledger.seen().len(), 1, "it is not asked once more");
    assert_eq!(run(host, id).await["status"], "cancelled");

    let mut ends: Vec<(String, String)> = Vec::new();
    for row in history(host, id).await {
        let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
        if text("status") != "started" {
            ends.push((text("name"), text("status")));
        }
    }
    ends.sort_unstable();
    let expected = ["ask", "boil", "hear", "rest", "ring", "wide"];
    let expected = expected.map(|name| (name.to_owned(), "cancelled".to_owned()));
    assert_eq!(ends, expected);
    wide.host.stop().await;
}

#[tokio::test]
async fn times_that_bound_tasks_and_workflows_are_told_from_what_they_are_for() {
    let host = host().await;
    let tasks = "  - rest:\n      wait: {days: 30}\n      timeout: {after: {days: 2}}\n";
    let text = definition("rest", "timeout: {after: {days: 3}}\n", tasks);
    put(&host, "rest", &text).await;
    let started = start(&host, "rest", json!({}), 0).await;
    let found = waiting(&host, &started["id"], 3).await;
    let all = found["waits_for"].as_array().expect("a list");
    let mut purposes: Vec<(&str, bool)> = all
        .iter()
        .map(|one| {
            let purpose = one["purpose"].as_str().expect("a word");
            (purpose, one["position"].is_null())
        })
        .collect();
    purposes.sort_unstable();
    assert_eq!(
        purposes,
        [("deadline", true), ("task", false), ("timeout", false)],
        "{found}"
    );
    // One that has ended is at nothing, and a list has no room for it.
    act(&host, &started["id"], "cancel").await;
    let gone = until(&host, &started["id"], "cancelled").await;
    let listed = host.get("/v1/workflow-runs").operator().send().await;
    for one in [&gone, &listed.data()[0]] {
        let fields = one.as_object().expect("an object");
        assert!(!fields.contains_key("waits_for"), "{one}");
        assert!(!fields.contains_key("current"), "{one}");
    }
    host.stop().await;
}

#[tokio::test]
async fn the_command_line_shows_it() {
    let host = builder().program().start().await;
    let rest = "  - rest: {wait: {days: 30}}\n  - done: {set: {n: 1}}\n";
    put(&host, "rest", &definition("rest", "", rest)).await;
    let started = start(&host, "rest", json!({}), 0).await;
    let id = started["id"].as_str().expect("an id");
    waiting(&host, &started["id"], 1).await;
    let (shown, _) = host.command_line(&["workflow", "show", id]).await;
    for word in ["/do/0/rest", "timer", "due_at"] {
        assert!(shown.contains(word), "{word} in {shown}");
    }
    act(&host, &started["id"], "cancel").await;
    ended(&host, &started["id"]).await;
    host.stop().await;
}

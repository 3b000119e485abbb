//! A run that is watched while it goes on, by npm's `eventsource`: each step is told when it happens, and what was told before the line
//! was cut is not told again.

use nself_plugin_testkit::{NodeScripts, TestHost, node_scripts, within};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout},
};

use crate::stage::{Ledger, builder, definition, put, start};

/// A client that says what it hears.
struct Client {
    lines: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Client {
    fn of(host: &TestHost, scripts: &NodeScripts, run: &Value, cut: bool) -> Self {
        let id = run["id"].as_str().expect("an id");
        let address = format!("http://{}/v1/workflow-runs/{id}/watch", host.address());
        let mut command = scripts.script("watcher.mjs");
        command.envs([("WATCH_URL", &*address), ("TOKEN", TestHost::OPERATOR_KEY)]);
        command.env("CUT", if cut { "1" } else { "" });
        let mut process = scripts.start(&mut command);
        let printed = process.stdout.take().expect("its output is piped");
        Self {
            lines: BufReader::new(printed).lines(),
            _process: process,
        }
    }

    async fn next(&mut self) -> Value {
        let line = within("a line of the client", self.lines.next_line()).await;
        let line = line.expect("it can be read").expect("it has not ended");
        serde_json::from_str(&line).expect("JSON")
    }

    /// Rows of the history as they come, until that of a task with this status is there: their numbers, names and statuses.
    async fn rows_until(&mut self, name: &str, status: &str) -> Vec<(i64, String, String)> {
        let mut all = Vec::new();
        loop {
            let heard = self.next().await;
            assert_eq!(heard["event"], "progress", "{heard}");
            let rows = heard["data"].as_array().expect("rows").clone();
            let number = rows.last().expect("no event is empty")["number"].to_string();
            assert_eq!(
                heard["id"],
                json!(number),
                "the id is the last row's: {heard}"
            );
            let text = |row: &Value, field: &str| row[field].as_str().expect("a text").to_owned();
            let number = |row: &Value| row["number"].as_i64().expect("a number");
            all.extend(
                rows.iter()
                    .map(|row| (number(row), text(row, "name"), text(row, "status"))),
            );
            if all
                .iter()
                .any(|(_, n, s)| (n.as_str(), s.as_str()) == (name, status))
            {
                return all;
            }
        }
    }
}

fn steps(rows: &[(i64, String, String)]) -> Vec<String> {
    rows.iter()
        .map(|(_, name, status)| format!("{name} {status}"))
        .collect()
}

async fn ground() -> (TestHost, Ledger, NodeScripts) {
    let ledger = Ledger::open(&[200]).await;
    let config = format!(
        "[plugins.orchestrator]\negress = [\"{}\"]\n",
        ledger.address
    );
    let host = builder().config(&config).start().await;
    let ask = |name: &str| {
        format!(
            "  - {name}: {{call: http, with: {{method: get, endpoint: 'http://{}/{name}'}}}}\n",
            ledger.address
        )
    };
    let tasks = format!(
        "  - begin: {{set: {{x: 1}}}}\n{}{}",
        ask("first"),
        ask("second")
    );
    put(&host, "watched", &definition("watched", "", &tasks)).await;
    (host, ledger, node_scripts!("tests/clients").await)
}

#[tokio::test]
async fn each_step_is_told_when_it_happens_and_none_before() {
    let (host, ledger, scripts) = ground().await;
    let (first, second) = (ledger.hold("/first"), ledger.hold("/second"));
    let run = start(&host, "watched", json!({}), 0).await;
    let mut client = Client::of(&host, &scripts, &run, false);
    assert_eq!(client.next().await["event"], "open");
    let rows = client.rows_until("first", "started").await;
    assert_eq!(
        steps(&rows),
        ["begin started", "begin completed", "first started"]
    );
    // What comes next can only be what comes of the answer.
    drop(first);
    let more = client.rows_until("second", "started").await;
    assert_eq!(steps(&more), ["first completed", "second started"]);
    drop(second);
    let last = client.rows_until("second", "completed").await;
    assert_eq!(steps(&last), ["second completed"]);
    let end = client.next().await;
    assert_eq!(
        (
            &end["event"],
            &end["data"]["status"],
            &end["data"]["output"]
        ),
        (
            &json!("ended"),
            &json!("completed"),
            &json!({"tea": "ready"})
        ),
        "{end}"
    );
    let numbers: Vec<i64> = [rows, more, last]
        .concat()
        .iter()
        .map(|row| row.0)
        .collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    host.stop().await;
}

#[tokio::test]
async fn a_client_that_was_cut_off_hears_what_it_missed_and_nothing_twice() {
    let (host, ledger, scripts) = ground().await;
    let (first, second) = (ledger.hold("/first"), ledger.hold("/second"));
    let run = start(&host, "watched", json!({}), 0).await;
    // It cuts its own line at the first event that tells of the first call, and connects again with the id of that.
    let mut client = Client::of(&host, &scripts, &run, true);
    assert_eq!(client.next().await["event"], "open");
    let rows = client.rows_until("first", "started").await;
    assert_eq!(client.next().await["event"], "cut");
    drop((first, second));
    let again = client.next().await;
    assert_eq!(again["event"], "open", "{again}");
    let last = rows.last().expect("a row").0;
    assert_eq!(again["sent"], json!(last.to_string()), "{again}");
    let more = client.rows_until("second", "completed").await;
    assert_eq!(
        steps(&more),
        ["first completed", "second started", "second completed"]
    );
    assert!(more.iter().all(|row| row.0 > last), "{more:?}");
    assert_eq!(client.next().await["event"], "ended");
    host.stop().await;
}

#[tokio::test]
async fn an_id_that_is_no_number_of_a_row_is_passed_over() {
    let (host, ledger, _) = ground().await;
    let run = start(&host, "watched", json!({}), 25).await;
    assert_eq!(ledger.seen().len(), 2);
    let id = run["id"].as_str().expect("an id");
    let path = format!("/v1/workflow-runs/{id}/watch");
    let mut told = Vec::new();
    for last in ["tea", "-5", ""] {
        let request = host.get(&path).operator().header("last-event-id", last);
        let mut events = request.events().await;
        told.push(events.next().await.expect("its history").data);
    }
    assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
    host.stop().await;
}

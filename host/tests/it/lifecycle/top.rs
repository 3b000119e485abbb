//! `nself top`: a host as it works, on a real terminal and without one.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::load::Load;
use super::plugin_file::{bad, hello};
use super::project::{Host, Project, eventually};
use super::terminal::Sitting;

/// What gives a terminal back: lines that wrap, a cursor, the screen from before.
const LEFT: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

const ALONE: &str = "[plugins.bad]\nisolation = \"process\"\n";

/// A host with a plugin in a process of its own, and one in the host's that uses the database.
async fn started() -> (Project, Host) {
    let project = Project::served(ALONE).await;
    project.enable("bad", &bad("1.0.0"));
    project.enable("hello", &hello());
    let host = project.start();
    (project, host)
}

/// The cells of a plugin's row.
fn row<'a>(picture: &'a [String], plugin: &str) -> Vec<&'a str> {
    let mut rows = picture
        .iter()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.find(|cells| cells.first() == Some(&plugin))
        .unwrap_or_default()
}

fn holds(picture: &[String], text: &str) -> bool {
    picture.iter().any(|line| line.contains(text))
}

/// What `--json` says of one plugin.
fn plugin<'a>(view: &'a Value, id: &str) -> &'a Value {
    let mut plugins = view["plugins"].as_array().unwrap().iter();
    plugins.find(|plugin| plugin["id"] == id).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_shows_a_host_at_work_until_q() {
    let (project, host) = started().await;
    let mut top = Sitting::down(&project, &["top", "--interval", "1"], &[]);
    let picture = top.sees("the plugins", |picture| row(picture, "bad").len() > 3);
    assert!(picture[0].starts_with("nself "), "{picture:#?}");
    assert_eq!(picture.len(), 30, "the whole screen");
    assert_eq!(row(&picture, "bad")[1..4], ["started", "process", "0"]);
    assert_eq!(row(&picture, "hello")[1..3], ["started", "host"]);
    let load = Load::on(host.address)
        .getting(2, "/bad/version")
        .speaking(3, "/bad/socket");
    top.sees("a rate", |picture| {
        row(picture, "bad")
            .get(3)
            .is_some_and(|rate| rate.len() > 1 && !rate.contains('.'))
    });
    top.sees("sockets", |picture| holds(picture, "3 open"));
    top.types("s");
    top.sees("another order", |picture| {
        holds(picture, "sorted by errors")
    });
    top.types("p");
    let still = top.sees("a pause", |picture| holds(picture, "paused"));
    load.end().await.flawless();
    top.types("s");
    let sorted = top.sees("a third order", |picture| holds(picture, "sorted by p99"));
    assert_eq!(row(&still, "bad"), row(&sorted, "bad"), "nobody looks");
    top.types(" ");
    top.sees("rest", |picture| row(picture, "bad").get(3) == Some(&"0"));
    top.resizes(40, 12);
    let small = top.sees("a small picture", |picture| picture.len() == 12);
    assert!(
        small.iter().all(|line| line.chars().count() <= 40),
        "{small:#?}"
    );
    top.types("q");
    assert_eq!(top.ended().code(), Some(0));
    top.is_as_before();
    let everything = top.everything();
    assert!(everything.ends_with(LEFT), "{everything:?}");
    assert!(everything.contains("\x1b[32m"), "colours");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_goes_away_is_waited_for() {
    let (project, mut host) = started().await;
    let mut top = Sitting::down(&project, &["top", "--interval", "1"], &[]);
    top.sees("the plugins", |picture| row(picture, "bad").len() > 3);
    host.signal(Signal::STOP);
    top.sees("silence", |picture| holds(picture, "has not answered"));
    host.signal(Signal::CONT);
    top.sees("an answer", |picture| !holds(picture, "waiting for it"));
    host.signal(Signal::KILL);
    host.ended();
    let gone = top.sees("its absence", |picture| {
        holds(
            picture,
            "no host runs in this project: waiting for it, last seen",
        )
    });
    assert_eq!(row(&gone, "bad")[1], "started", "as it was seen last");
    let host = project.start();
    let pid = format!("pid {}", host.pid());
    let back = top.sees("the next one", |picture| {
        !holds(picture, "waiting for it") && holds(picture, &pid)
    });
    assert_eq!(row(&back, "bad")[1], "started");
    top.types("\x03");
    assert_eq!(top.ended().code(), Some(0));
    top.is_as_before();
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_and_a_closed_window_end_it() {
    let (project, _host) = started().await;
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut top = Sitting::down(&project, &["top"], &[("NO_COLOR", "1")]);
        top.sees("the plugins", |picture| row(picture, "bad").len() > 3);
        top.signal(signal);
        let status = top.ended();
        assert_eq!(
            (status.code(), status.signal()),
            (Some(0), None),
            "{signal:?}"
        );
        top.is_as_before();
        let everything = top.everything();
        assert!(everything.ends_with(LEFT), "{everything:?}");
        assert!(!everything.contains("\x1b[32m"), "no colours");
    }
    let mut top = Sitting::down(&project, &["top", "--interval", "1"], &[]);
    top.sees("the plugins", |picture| row(picture, "bad").len() > 3);
    top.leaves();
    top.ended();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_look_is_printed_where_there_is_no_terminal() {
    let (project, host) = started().await;
    let mut caller = host.caller().await;
    for _ in 0..50 {
        assert_eq!(caller.get("/bad/version").await.status, 200);
    }
    assert_eq!(caller.get("/bad/panic/before").await.status, 500);
    let printed = project.nself(&["top"]).done();
    assert!(!printed.stdout.contains('\x1b'), "{printed:?}");
    let lines: Vec<String> = printed.stdout.lines().map(str::to_owned).collect();
    assert_eq!(row(&lines, "bad")[1..3], ["started", "process"]);
    let once = project.nself(&["top", "--once"]).done();
    assert!(once.stdout.contains("PLUGIN"), "{once:?}");
    let view = project.nself(&["top", "--json"]).done().data();
    assert_eq!(view["host"]["pid"], host.pid());
    assert!(
        view["host"]["memory_bytes"].as_f64().unwrap() > 1e6,
        "{view}"
    );
    assert!(
        view["host"]["cpu_percent"].as_f64().unwrap() > 0.0,
        "{view}"
    );
    assert_eq!(view["database"]["state"], "running");
    let bad = plugin(&view, "bad");
    assert!(bad["memory_bytes"].as_f64().unwrap() > 1e6, "{bad}");
    assert!(bad["requests"]["per_s"].as_f64().unwrap() > 0.0, "{bad}");
    assert!(bad["requests"]["p99_ms"].as_f64().unwrap() > 0.0, "{bad}");
    assert!(
        bad["requests"]["server_errors_per_s"].as_f64().unwrap() > 0.0,
        "{bad}"
    );
    assert_eq!(bad["panics"], 1.0);
    let hello = plugin(&view, "hello");
    assert_eq!(
        hello["memory_bytes"],
        Value::Null,
        "it is in the host's process"
    );
    assert!(hello["connections"]["max"].as_u64().unwrap() > 0, "{hello}");
    let begun = Instant::now();
    let second = project.nself(&["top", "--json", "--interval", "1"]).done();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let view = second.data();
    assert_eq!(plugin(&view, "bad")["requests"]["per_s"], 0.0, "none since");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_of_a_plugin_that_ended_is_counted_and_the_next_one_weighed() {
    let (project, host) = started().await;
    let look = || project.nself(&["top", "--json"]).done().data();
    host.caller().await.get("/bad/crash/abort").await;
    eventually("the next process", async || {
        let view = look();
        let bad = plugin(&view, "bad");
        (bad["restarts"] == 1.0 && bad["memory_bytes"].is_u64()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_host_there_is_nothing_to_watch() {
    let project = Project::served("").await;
    project
        .nself(&["top"])
        .refused(69, &["HOST_NOT_RUNNING", "nself up"]);
    let asked = project.nself(&["top", "--interval", "0"]);
    asked.refused(2, &["--interval"]);
    let mut top = Sitting::down(&project, &["top"], &[]);
    assert_eq!(top.ended().code(), Some(69));
    top.is_as_before();
    let everything = top.everything();
    assert!(!everything.contains("\x1b[?1049h"), "{everything:?}");
}

//! A plugin in a process of its own: what it does to that costs its own answers and nothing else, and nothing but the host can be
//! reached from there.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::lifecycle::load::Load;
use crate::lifecycle::plugin_file::{bad, hello};
use crate::lifecycle::project::{Host, Project, eventually, until};

const ALONE: &str = "[plugins.bad]\nisolation = \"process\"\n";

/// A host with the bad plugin in a process of its own, and with hello in the host's.
async fn started(settings: &str) -> (Project, Host) {
    let project = Project::served(&format!("{ALONE}{settings}")).await;
    project.enable("bad", &bad("1.0.0"));
    project.enable("hello", &hello());
    let host = project.start();
    (project, host)
}

/// Processes of plugins that this host has started.
fn processes(host: &Host) -> Vec<u32> {
    let children = format!("/proc/{0}/task", host.pid());
    let tasks = fs::read_dir(children).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let all: Vec<u32> = lists
        .flat_map(|list| {
            let numbers = list.split_whitespace().map(str::to_owned);
            numbers.collect::<Vec<_>>()
        })
        .filter_map(|number| number.parse().ok())
        .collect();
    let is_plugins = |process: &u32| {
        fs::read_to_string(format!("/proc/{process}/cmdline"))
            .is_ok_and(|words| words.contains("--nself-plugin"))
    };
    all.into_iter().filter(is_plugins).collect()
}

async fn status(host: &Host, path: &str) -> u16 {
    host.caller().await.get(path).await.status
}

async fn restarts(host: &Host) -> usize {
    let metrics = host.caller().await.get("/metrics").await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    let name = "nself_plugin_restarts_total{plugin=\"bad\"} ";
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_ends_its_process_costs_its_own_answers_until_it_is_back() {
    let (project, mut host) = started("").await;
    assert_eq!(project.plugin("bad")["isolation"], "process");
    assert_eq!(project.plugin("hello")["isolation"], "host");
    let listed = project.nself(&["plugin", "list"]).done().stdout;
    let cell = |id: &str| {
        let line = listed.lines().find(|line| line.starts_with(id)).unwrap();
        line.split_whitespace().nth(3).unwrap().to_owned()
    };
    assert_eq!(cell("PLUGIN"), "ISOLATION");
    assert_eq!(
        (cell("bad"), cell("hello")),
        ("process".into(), "host".into())
    );
    let [first] = processes(&host)[..] else {
        panic!("one plugin has a process");
    };
    let token = project.token();
    for (number, how) in (1..).zip(["abort", "exit", "thread-abort", "overflow"]) {
        let crash = format!("/bad/crash/{how}");
        let (mut waits, mut crashes) = (host.caller().await, host.caller().await);
        let (waited, crashed) = tokio::join!(waits.get("/bad/slow/20000"), crashes.get(&crash));
        for answer in [waited, crashed] {
            assert_eq!(answer.status, 502, "{how}");
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(body["code"], "PLUGIN_DOWN");
        }
        let mut neighbour = host.caller().await.with_token(&token);
        assert_eq!(neighbour.get("/hello/notes").await.status, 200);
        let degraded = project.plugin("bad");
        if degraded["degraded"] == true {
            let reason = degraded["reason"].as_str().unwrap();
            assert!(reason.contains("its process ended"), "{reason}");
        }
        eventually("the plugin is back", async || {
            (status(&host, "/bad/version").await == 200).then_some(())
        })
        .await;
        assert_eq!(restarts(&host).await, number);
    }
    assert_eq!(host.logged(&["process ended", "exit status 7"]), 1);
    assert_eq!(host.logged(&["process ended", "signal 6"]), 3);
    until("the plugin does well again", || {
        project.plugin("bad")["degraded"] == json!(false)
    });
    let [last] = processes(&host)[..] else {
        panic!("one plugin has a process");
    };
    assert_ne!(first, last);
    assert!(host.runs());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_host_is_reached_from_a_plugins_process() {
    let (project, host) = started("memory_bytes = 268435456\n").await;
    let file = |name: &str| project.path().join(name).display().to_string();
    let new = file("written");
    let files = [
        ("read", file("nself.toml")),
        ("read", "/etc/passwd".to_owned()),
        ("list", file(".nself/secrets")),
        ("list", "/".to_owned()),
        ("write", new.clone()),
        ("parent", String::new()),
    ];
    let beyond = [
        ("connect", host.address.to_string()),
        ("listen", "127.0.0.1:0".to_owned()),
        ("socket", file(".nself/run/control.sock")),
        ("program", "/bin/true".to_owned()),
        ("memory", String::new()),
    ];
    // What a kernel without it does not hold is said.
    let holds_files = host.logged(&["held by less"]) == 0;
    for (what, at) in files.iter().filter(|_| holds_files).chain(&beyond) {
        let answer = host
            .caller()
            .await
            .get(&format!("/bad/reach/{what}?at={at}"))
            .await;
        assert_eq!(answer.status, 200, "{what} {at}");
        let said: String = serde_json::from_slice(&answer.body).unwrap();
        assert_ne!(said, "reached", "{what} {at}");
    }
    assert!(!fs::exists(&new).unwrap());
    assert_eq!(restarts(&host).await, 0, "what is refused costs nothing");

    // In the host's process all of that is there for the taking.
    drop(host);
    project.configure("[plugins.bad]\nisolation = \"host\"\n");
    let host = project.start();
    for (what, at) in files.iter().chain(&beyond[3..4]) {
        let answer = host
            .caller()
            .await
            .get(&format!("/bad/reach/{what}?at={at}"))
            .await;
        let said: String = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(said, "reached", "{what} {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_speaks_nonsense_is_replaced() {
    let (_project, mut host) = started("").await;
    // Whether the answer or the nonsense comes first, it is the process that ends.
    let _ = host.caller().await.get("/bad/reach/host").await;
    until("it is seen", || {
        host.logged(&["process ended", "more at once"]) == 1
    });
    eventually("another process", async || {
        (restarts(&host).await == 1).then_some(())
    })
    .await;
    eventually("the plugin is back", async || {
        (status(&host, "/bad/version").await == 200).then_some(())
    })
    .await;
    assert!(host.runs());
}

#[tokio::test(flavor = "multi_thread")]
async fn swaps_under_load_lose_nothing_of_plugins_in_processes() {
    let (project, mut host) = started("").await;
    let load = Load::on(host.address)
        .getting(3, "/bad/version")
        .getting(2, "/bad/stream")
        .getting(2, "/bad/slow/30")
        .speaking(2, "/bad/socket");
    project.put("bad", &bad("2.0.0"));
    for _ in 0..5 {
        project.nself(&["plugin", "upgrade", "bad"]).done();
        project.nself(&["plugin", "rollback", "bad"]).done();
    }
    load.end().await.flawless();
    until("the processes of former versions end", || {
        processes(&host).len() == 1
    });
    assert_eq!(restarts(&host).await, 0);
    assert!(host.runs());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugins_process_ends_with_its_host_however_that_ends() {
    for signal in [Signal::TERM, Signal::KILL] {
        let (_project, mut host) = started("").await;
        let [process] = processes(&host)[..] else {
            panic!("one plugin has a process");
        };
        host.signal(signal);
        host.ended();
        until("the process ends", || {
            !fs::exists(format!("/proc/{process}")).unwrap()
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_does_not_come_up_in_its_process_is_refused_with_what_it_said() {
    let project = Project::served(ALONE).await;
    for (version, expected) in [
        ("1.0.0-create-fails", "bad failed in create"),
        ("1.0.0-start-panics", "bad failed in start"),
    ] {
        project.put("bad", &bad(version));
        let host = project.start();
        project
            .nself(&["plugin", "enable", "bad"])
            .refused(1, &[expected]);
        until("no process is left", || processes(&host).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_of_development_what_nobody_signed_has_a_process_of_its_own() {
    let project = Project::served("").await;
    let settings = fs::read_to_string(project.path().join("nself.toml")).unwrap();
    fs::write(
        project.path().join("nself.toml"),
        format!("environment = \"staging\"\n{settings}"),
    )
    .unwrap();
    project.enable("bad", &bad("1.0.0"));
    let signed = project.put("hello", &hello());
    project
        .nself(&["plugin", "sign", &signed.display().to_string()])
        .done();
    project.nself(&["plugin", "enable", "hello"]).done();
    let _host = project.start();
    assert_eq!(project.plugin("bad")["isolation"], "process");
    assert_eq!(project.plugin("hello")["isolation"], "host");
}

//! A plugin panics and blocks, and crashes the host twice in a row; each way out is taken.

use std::{env, fs};

use nself_compose::shell::eventually;
use serde_json::Value;

use super::page::{Page, cell, when};
use crate::household::Household;

const LIST: &str = "nself plugin list";

pub(super) fn drill(page: &mut Page) {
    let household = Household::make(&[], "");
    let versions = versions();
    household.put("bad", &versions[0]);
    household.data(&["plugin", "enable", "bad", "--yes"]);
    household.data(&["up", "--detach"]);
    household.put("bad", &versions[1]);
    household
        .run(&["plugin", "upgrade", "bad"])
        .good("an upgrade");
    for _ in 0..5 {
        assert_eq!(asks(&household, "/bad/panic/before"), Some(500));
    }
    asks(&household, "/bad/block/3000");

    let list = page.types(&household, LIST, &[]).good("the plugins");
    assert!(
        list.contains("degraded") && list.contains("panic"),
        "{list}"
    );
    let logged = page.types(&household, "nself logs ID --level warn", &[("ID", "bad")]);
    let logged = logged.good("what it did");
    for part in ["plugin panicked", "panics.rs:", "block"] {
        assert!(logged.contains(part), "no {part:?} in {logged}");
    }
    assert_eq!(asks(&household, "/livez"), Some(200));

    crashes_twice(&household);
    let crashes = fs::read_to_string(household.path().join(".nself/crashes.toml"));
    let crashes = crashes.expect("they are counted");
    for part in ["signal = \"SIGSEGV\"", "offset = \"0x"] {
        assert!(crashes.contains(part), "no {part:?} in {crashes}");
    }
    leaves(page, &household, "nself plugin rollback ID");
    crashes_twice(&household);
    household.put("bad", &versions[2]);
    leaves(page, &household, "nself plugin upgrade ID");
    crashes_twice(&household);
    leaves(page, &household, "nself plugin release ID");

    let disabled = page.types(&household, "nself plugin disable ID", &[("ID", "bad")]);
    disabled.good("it is disabled");
    assert_eq!(asks(&household, "/bad/version"), Some(404));
}

/// A way out of quarantine.
fn leaves(page: &mut Page, household: &Household, command: &str) {
    page.types(household, command, &[("ID", "bad")])
        .good(command);
    assert_eq!(
        asks(household, "/bad/version"),
        Some(200),
        "after {command}"
    );
}

/// The bad plugin in three versions, with a description that is none too long.
fn versions() -> [Vec<u8>; 3] {
    let test = env::current_exe().expect("a test knows its own file");
    let near = test.ancestors().nth(2).expect("tests lie in target");
    let file = fs::read(near.join("libnself_plugin_bad.so")).expect("a plugin");
    let dots = format!("\"description\":\"{}\"", ".".repeat(4_096));
    let few = format!("{:1$}", "\"description\":\"It does all wrong\"", dots.len());
    let file = with(file, &dots, &few);
    ["1.0.0", "1.0.1", "1.0.2"].map(|version| {
        let version = format!("\"version\":\"{version}\"");
        with(file.clone(), "\"version\":\"1.0.0\"", &version)
    })
}

/// The file with another text in its manifest, as long as the one before.
fn with(mut file: Vec<u8>, before: &str, after: &str) -> Vec<u8> {
    assert_eq!(before.len(), after.len());
    let mut windows = file.windows(before.len());
    let at = windows.position(|window| window == before.as_bytes());
    let at = at.expect("the manifest has it");
    file[at..at + before.len()].copy_from_slice(after.as_bytes());
    file
}

/// The status of an answer; none when the host dies of it.
fn asks(household: &Household, path: &str) -> Option<u16> {
    household.asks(path, &[]).ok().map(|reply| reply.status)
}

/// The host is crashed, started, crashed and started, and runs without it.
fn crashes_twice(household: &Household) {
    for _ in 0..2 {
        assert_eq!(
            asks(household, "/bad/crash/segfault"),
            None,
            "the host dies"
        );
        eventually("it is gone and starts again", || {
            let up = household.run(&["up", "--detach"]);
            when(up.success, up.err)
        });
    }
    let list = household.run(&["plugin", "list"]).good("the plugins");
    assert_eq!(cell(&list, &["bad "], "STATE"), "quarantined", "{list}");
    let ready = household.asks("/readyz", &[]).expect("the host runs");
    let ready: Value = ready.body.parse().expect("JSON");
    assert_eq!(ready["ready"], true, "{ready}");
}

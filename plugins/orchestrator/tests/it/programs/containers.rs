//! Containers. There is no daemon where the tests run: what stands in for docker's command line writes down what it is told.

use std::{fs, os::unix::fs::PermissionsExt as _};

use nself_plugin_testkit::TestHost;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{host, path, run, shared_folder, until_written};
use crate::stage::{act, definition, ended, put, start};

/// `ps` says that there is a container when the file `left` is there; `run` tells its words, its environment and its input.
const STAND_IN: &str = r#"#!/bin/sh
log=FOLDER/log
printf '%s\n' "$*" | tr '\n' '~' >> $log; echo >> $log
case $1 in
ps) test -e FOLDER/left && echo c0ffee; exit 0 ;;
rm | kill) /bin/rm -f FOLDER/left; exit 0 ;;
esac
test -e environment && cat environment > FOLDER/environment
case "$*" in *--interactive*) cat > FOLDER/stdin ;; esac
case "$*" in *slow*) touch FOLDER/left; echo begun > FOLDER/ready; sleep 3600 ;; esac
echo brewed
"#;

fn stand_in(folder: &TempDir) -> String {
    let program = path(folder, "docker");
    let text = STAND_IN.replace("FOLDER", &folder.path().display().to_string());
    fs::write(&program, text).expect("it is ours");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    program.display().to_string()
}

async fn with(folder: &TempDir) -> TestHost {
    let config = format!("container_program = \"{}\"", stand_in(folder));
    host("\"container:alpine*\", \"volume:/srv/tea\"", &config).await
}

fn log(folder: &TempDir) -> Vec<String> {
    let log = fs::read_to_string(path(folder, "log")).unwrap_or_default();
    log.lines().map(str::to_owned).collect()
}

fn task(container: &Value) -> String {
    format!(
        "  - brew:\n      run: {}\n",
        json!({ "container": container })
    )
}

#[tokio::test]
async fn a_container_is_run_with_what_its_task_says_and_held_by_what_the_operator_says() {
    let folder = shared_folder();
    let host = with(&folder).await;
    let container = json!({
        "image": "alpine:3", "command": "echo $1", "arguments": ["Foo"], "stdin": "tea", "pullPolicy": "always",
        "environment": {"CUP": "blue one"}, "ports": {"8080": 80}, "volumes": {"leaves": "/leaves", "/srv/tea": "/tea"},
        "lifetime": {"cleanup": "always"},
    });
    let ended = run(&host, "brew", &task(&container)).await;
    assert_eq!(ended["output"], "brewed\n", "{ended}");
    let id = ended["id"].as_str().expect("an id");
    let log = log(&folder);
    let label = format!("nself.key={id}/brew");
    assert_eq!(
        log[0],
        format!("ps --all --quiet --filter=label={label}~"),
        "{log:?}"
    );
    let words = &log[1];
    let name = words
        .split_once("--name=")
        .and_then(|(_, rest)| rest.split(' ').next());
    let name = name.expect("it has a name");
    assert!(
        name.starts_with("brew-") && name.ends_with(".test-brew"),
        "{name}"
    );
    let expected = format!(
        "run --label={label} --pull=always --memory=1073741824 --pids-limit=128 --security-opt=no-new-privileges \
         --name={name} --rm --interactive --publish=127.0.0.1:8080:80 --volume=/srv/tea:/tea --volume=leaves:/leaves \
         --env-file=environment alpine:3 sh -c echo $1 sh Foo~"
    );
    assert_eq!(*words, expected);
    let given = fs::read_to_string(path(&folder, "environment")).expect("it was given");
    assert_eq!(given, format!("CUP=blue one\nIDEMPOTENCY_KEY={id}/brew\n"));
    let read = fs::read_to_string(path(&folder, "stdin")).expect("it was read");
    assert_eq!(read, "tea");
    host.stop().await;
}

#[tokio::test]
async fn a_container_sees_no_path_that_is_not_listed_and_no_word_of_it_is_an_option() {
    let folder = shared_folder();
    let host = with(&folder).await;
    for (name, container, expected) in [
        (
            "path",
            json!({"image": "alpine", "volumes": {"/": "/host"}}),
            "does not list volume:/",
        ),
        (
            "below",
            json!({"image": "alpine", "volumes": {"/srv/tea/x": "/x"}}),
            "does not list volume:/srv/tea/x",
        ),
        (
            "option",
            json!({"image": "alpine", "volumes": {"a": "/b:rw,z"}}),
            "a path in the container",
        ),
        (
            "name",
            json!({"image": "alpine", "name": "--privileged"}),
            "name: expected",
        ),
        (
            "image",
            json!({"image": "alpine --privileged"}),
            "image: expected",
        ),
        (
            "lines",
            json!({"image": "alpine", "environment": {"A": "b\nC=d"}}),
            "values of one line",
        ),
        (
            "port",
            json!({"image": "alpine", "ports": {"http": 80}}),
            "is no port",
        ),
    ] {
        let ended = run(&host, name, &task(&container)).await;
        let detail = ended["error"]["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(expected), "{name}: {ended}");
    }
    assert!(log(&folder).is_empty(), "{:?}", log(&folder));
    host.stop().await;
}

#[tokio::test]
async fn a_container_ends_with_its_run_and_one_that_was_left_is_removed_before_the_next() {
    let folder = shared_folder();
    let host = with(&folder).await;
    let tasks = task(&json!({"image": "alpine:slow"}));
    put(&host, "slow", &definition("slow", "", &tasks)).await;
    let started = start(&host, "slow", json!({}), 0).await;
    until_written(&path(&folder, "ready")).await;
    assert_eq!(act(&host, &started["id"], "cancel").await.status, 200);
    let killed = || log(&folder).contains(&"kill c0ffee~".to_owned());
    nself_plugin_testkit::eventually("the container is killed", async || killed().then_some(()))
        .await;

    // As a machine that lost its power leaves it.
    fs::write(path(&folder, "left"), "").expect("it is ours");
    let brewed = run(&host, "next", &task(&json!({"image": "alpine"}))).await;
    assert_eq!(brewed["output"], "brewed\n", "{brewed}");
    let removed = log(&folder)
        .iter()
        .position(|line| line == "rm --force c0ffee~");
    let run = log(&folder)
        .iter()
        .rposition(|line| line.starts_with("run "));
    assert!(removed.is_some() && removed < run, "{:?}", log(&folder));
    host.stop().await;
}

#[tokio::test]
async fn a_container_with_a_time_is_removed_when_that_is_over() {
    let folder = shared_folder();
    let host = with(&folder).await;
    let container =
        json!({"image": "alpine", "lifetime": {"cleanup": "eventually", "after": {"seconds": 1}}});
    put(
        &host,
        "eventually",
        &definition("eventually", "", &task(&container)),
    )
    .await;
    let started = start(&host, "eventually", json!({}), 0).await;
    let done = ended(&host, &started["id"]).await;
    assert_eq!(done["output"], "brewed\n", "{done}");
    assert!(!log(&folder)[1].contains("--rm"), "{:?}", log(&folder));
    fs::write(path(&folder, "left"), "").expect("it is ours");
    let removed = || log(&folder).contains(&"rm --force c0ffee~".to_owned());
    nself_plugin_testkit::eventually("the container is removed", async || removed().then_some(()))
        .await;
    host.stop().await;
}

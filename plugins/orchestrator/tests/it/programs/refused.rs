//! What is not run: all that the operator does not list.

use nself_plugin_testkit::TestHost;
use serde_json::{Value, json};

use super::{host, run};
use crate::stage::{builder, definition};

const TASKS: [(&str, &str, &str); 3] = [
    ("shell", "{shell: {command: 'true'}}", "shell"),
    (
        "python",
        "{script: {language: python, code: 'print()'}}",
        "script:python",
    ),
    (
        "container",
        "{container: {image: 'alpine:3'}}",
        "container:alpine:3",
    ),
];

async fn validate(host: &TestHost, text: String) -> Value {
    let request = host.post("/v1/workflow-definitions/validate").operator();
    request.body(text).send().await.expect_status(200).data()
}

#[tokio::test]
async fn nothing_is_run_that_the_operator_does_not_list_and_it_is_told_before() {
    let host = builder().start().await;
    for (name, task, word) in TASKS {
        let tasks = format!("  - it:\n      run: {task}\n");
        let warned = validate(&host, definition(name, "", &tasks)).await;
        let setting = format!("plugins.orchestrator.run does not list {word}");
        assert_eq!(
            warned["warnings"],
            json!([format!("/do/0/it: {setting}")]),
            "{warned}"
        );
        let ended = run(&host, name, &tasks).await;
        assert_eq!(ended["error"]["detail"], setting, "{ended}");
        assert_eq!(ended["error"]["status"], 403, "{ended}");
    }
    host.stop().await;
}

#[tokio::test]
async fn an_image_that_is_not_listed_and_an_interpreter_that_is_not_there_say_so() {
    let config = "path = [\"/nowhere\"]";
    let host = host("\"script:python\", \"container:alpine*\"", config).await;
    let python = format!("  - it:\n      run: {}\n", TASKS[1].1);
    let warned = validate(&host, definition("python", "", &python)).await;
    assert_eq!(warned["warnings"], Value::Null, "it may be run");
    let ended = run(&host, "python", &python).await;
    let detail = "there is no python3 in the directories of programs.path, or at that place";
    assert_eq!(ended["error"]["detail"], detail, "{ended}");
    let kind = ended["error"]["type"].as_str().unwrap_or_default();
    assert!(kind.ends_with("/configuration"), "{ended}");
    for (name, image, detail) in [
        (
            "alpine",
            "alpine:3",
            "there is no docker and podman in the directories of programs.path, or at that place",
        ),
        (
            "other",
            "busybox",
            "plugins.orchestrator.run does not list container:busybox",
        ),
    ] {
        let tasks = format!("  - it:\n      run: {{container: {{image: '{image}'}}}}\n");
        let ended = run(&host, name, &tasks).await;
        assert_eq!(ended["error"]["detail"], detail, "{ended}");
    }
    let perl = "  - it:\n      run: {script: {language: perl, code: 'x'}}\n";
    let ended = run(&host, "perl", perl).await;
    let detail = "plugins.orchestrator.run does not list script:perl";
    assert_eq!(ended["error"]["detail"], detail, "{ended}");
    host.stop().await;
}

#[tokio::test]
async fn a_host_in_another_program_says_that_it_runs_none_and_does_not_start_that_program() {
    // The tests' own program: it is no supervisor.
    let config = "[plugins.orchestrator]\nrun = [\"shell\"]\n";
    let host = builder().config(config).start().await;
    let ended = run(
        &host,
        "shell",
        "  - it:\n      run: {shell: {command: 'true'}}\n",
    )
    .await;
    let detail = "this host is in a program that is not nself, and cannot hold programs";
    assert_eq!(ended["error"]["detail"], detail, "{ended}");
    host.stop().await;
}

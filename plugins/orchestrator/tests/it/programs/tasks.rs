//! What a program gets, and what of it becomes a task's output.

use std::fs;

use nself_plugin_testkit::TestHost;
use serde_json::{Value, json};

use super::{host, path, run, shared_folder, shell};
use crate::{
    authentication::assert_nothing_is_kept,
    stage::{Ledger, builder, count, definition, ended, history, put, start},
};

/// As the standard's own example has it.
const EXAMPLE: &str = "  - setInput: {set: {message: Hello World}}
  - runShell:
      input: {from: '${ .message }'}
      run:
        shell:
          stdin: ${ . }
          command: |
            input=$(cat)
            echo \"STDIN was: $input\"
            echo \"ARGS are $1 $2\"
          arguments: [Foo, Bar]
";

/// Likewise.
const SCRIPT: &str = "  - runScript:
      run:
        script:
          language: javascript
          stdin: Hello Workflow
          environment: {foo: bar}
          arguments: [hello]
          code: |
            import { readFileSync } from 'node:fs';
            const stdin = readFileSync(process.stdin.fd, 'utf8');
            console.log('stdin > ', stdin)
            const [_, __, arg] = process.argv;
            console.log('arg > ', arg)
            const foo = process.env.foo;
            console.log('env > ', foo)
";

const PYTHON: &str = "  - runScript:
      run:
        script:
          language: python
          arguments: ['${ .n | tostring }', '2']
          code: |
            import sys
            print(int(sys.argv[1]) + int(sys.argv[2]))
";

#[tokio::test]
async fn the_examples_of_the_standard_run_as_it_says() {
    let host = host("\"shell\", \"script\"", "").await;
    for (name, tasks, input, expected) in [
        (
            "shell",
            EXAMPLE,
            json!({}),
            "STDIN was: Hello World\nARGS are Foo Bar\n",
        ),
        (
            "js",
            SCRIPT,
            json!({}),
            "stdin >  Hello Workflow\narg >  hello\nenv >  bar\n",
        ),
        ("python", PYTHON, json!({"n": 40}), "42\n"),
    ] {
        put(&host, name, &definition(name, "", tasks)).await;
        let started = start(&host, name, input, 0).await;
        let ended = ended(&host, &started["id"]).await;
        assert_eq!(ended["output"], json!(expected), "{ended}");
    }
    host.stop().await;
}

#[tokio::test]
async fn an_output_is_what_the_task_wants_and_a_failure_is_caught() {
    let host = host("\"shell\"", "").await;
    let fails = "echo out; echo err >&2; exit 3";
    let returning = |command: &str, returns: &str| {
        let run = json!({"shell": {"command": command}, "return": returns});
        format!("  - it:\n      run: {run}\n")
    };
    let all = json!({"code": 3, "stdout": "out\n", "stderr": "err\n"});
    for (name, returns, expected) in [("code", "code", json!(3)), ("all", "all", all)] {
        let ended = run(&host, name, &returning(fails, returns)).await;
        assert_eq!(ended["output"], expected, "{ended}");
    }
    for (name, returns, expected) in [
        ("stderr", "stderr", json!("err\n")),
        ("none", "none", Value::Null),
    ] {
        let ended = run(&host, name, &returning("echo err >&2", returns)).await;
        assert_eq!(
            (&ended["status"], &ended["output"]),
            (&json!("completed"), &expected)
        );
    }
    let ended = run(&host, "fails", &returning(fails, "stdout")).await;
    assert_eq!(
        ended["error"]["detail"], "it ended with code 3: err",
        "{ended}"
    );
    let kind = ended["error"]["type"].as_str().unwrap_or_default();
    assert!(kind.ends_with("/runtime"), "{ended}");
    let caught = "  - risky:
      try:
        - it: {run: {shell: {command: 'kill -9 $$'}}}
      catch:
        errors: {with: {type: 'https://serverlessworkflow.io/spec/1.0.0/errors/runtime'}}
        as: error
        do:
          - tell: {set: {why: '${ $error.detail }'}}
";
    let ended = run(&host, "caught", caught).await;
    assert_eq!(
        ended["output"],
        json!({"why": "signal 9 ended it"}),
        "{ended}"
    );
    host.stop().await;
}

#[tokio::test]
async fn a_program_that_is_tried_again_has_the_same_key() {
    let host = host("\"shell\"", "").await;
    let folder = shared_folder();
    let keys = path(&folder, "keys");
    let command = format!(
        "echo \"$IDEMPOTENCY_KEY\" >> {0}; test $(wc -l < {0}) -ge 3",
        keys.display()
    );
    let tasks = format!(
        "  - again:\n      try:\n        - it: {{run: {}}}\n      catch: {{retry: {{delay: {{milliseconds: 1}}, limit: {{attempt: {{count: 5}}}}}}}}\n",
        json!({"shell": {"command": command}, "return": "none"})
    );
    let ended = run(&host, "again", &tasks).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    let keys = fs::read_to_string(keys).expect("it was run");
    let id = ended["id"].as_str().expect("an id");
    let expected = format!("{id}/again/it\n").repeat(3);
    assert_eq!(keys, expected);
    host.stop().await;
}

#[tokio::test]
async fn one_that_is_not_awaited_goes_on_after_its_task() {
    let host = host("\"shell\"", "").await;
    let folder = shared_folder();
    let (gate, file) = (path(&folder, "gate"), path(&folder, "file"));
    let command = format!(
        "while ! test -e {}; do sleep 0.05; done; echo done > {}",
        gate.display(),
        file.display()
    );
    let tasks = format!(
        "  - first: {{set: {{tea: ready}}}}\n  - it:\n      run: {}\n",
        json!({"shell": {"command": command}, "await": false})
    );
    let ended = run(&host, "aside", &tasks).await;
    // It outputs its input.
    assert_eq!(ended["output"], json!({"tea": "ready"}), "{ended}");
    assert!(!file.exists(), "it has not been waited for");
    fs::write(gate, "").expect("it is ours");
    super::until_written(&file).await;
    host.stop().await;
}

#[tokio::test]
async fn a_script_comes_from_where_its_task_says() {
    let ledger = Ledger::open(&[200]).await;
    let config = format!(
        "[plugins.orchestrator]\negress = [\"{}\"]\nrun = [\"script:python\"]\n",
        ledger.address
    );
    let host = builder().program().config(&config).start().await;
    // Whatever the ledger answers with is a value to python, and no more.
    let from = |path: &str| {
        format!(
            "  - it:\n      run:\n        script:\n          language: python\n          source: {{endpoint: 'http://{}{path}'}}\n",
            ledger.address
        )
    };
    let ended = run(&host, "source", &from("/")).await;
    assert_eq!(
        (&ended["status"], &ended["output"]),
        (&json!("completed"), &json!("")),
        "{ended}"
    );
    assert_eq!(ledger.seen().len(), 1);
    host.stop().await;

    let closed = Ledger::open(&[404]).await;
    let config = format!(
        "[plugins.orchestrator]\negress = [\"{}\"]\nrun = [\"script:python\"]\n",
        closed.address
    );
    let host = builder().program().config(&config).start().await;
    let tasks = from("/").replace(&ledger.address.to_string(), &closed.address.to_string());
    let ended = run(&host, "closed", &tasks).await;
    assert_eq!(ended["error"]["status"], 404, "{ended}");
    let kind = ended["error"]["type"].as_str().unwrap_or_default();
    assert!(kind.ends_with("/communication"), "{ended}");
    host.stop().await;
}

async fn with_secret() -> TestHost {
    let secrets = json!({"shop": {"secret": "never-shown-4711"}}).to_string();
    let config = "[plugins.orchestrator]\nrun = [\"shell\"]\n";
    let host = builder()
        .program()
        .config(config)
        .secret("workflow-secrets", &secrets);
    host.start().await
}

#[tokio::test]
async fn a_secret_reaches_a_program_and_nobody_else() {
    let host = with_secret().await;
    let secret = "use: {secrets: [shop]}\n";
    // The pattern does not find itself in the command line of grep.
    let command = "test \"$TOKEN\" = \"$(cat)\" && test ${#TOKEN} = 16 && echo \"it is $TOKEN\"; cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'shown-471[1]' >&2";
    let field = "${ $secrets.shop.secret }";
    let run = json!({
        "shell": {"command": command, "environment": {"TOKEN": field}, "stdin": field}, "return": "all",
    });
    let tasks = format!("  - it:\n      run: {run}\n");
    put(&host, "keeps", &definition("keeps", secret, &tasks)).await;
    let started = start(&host, "keeps", json!({}), 0).await;
    let kept = ended(&host, &started["id"]).await;
    let mark = "it is \u{27e6}secret:shop/secret\u{27e7}\n";
    assert_eq!(kept["output"]["stdout"], mark, "{kept}");
    assert_eq!(
        kept["output"]["stderr"], "0\n",
        "no command line has it: {kept}"
    );

    for (name, run) in [
        (
            "command",
            json!({"shell": {"command": "${ \"echo \" + $secrets.shop.secret }"}}),
        ),
        (
            "argument",
            json!({"shell": {"command": "echo", "arguments": [field]}}),
        ),
    ] {
        let tasks = format!("  - it:\n      run: {run}\n");
        put(&host, name, &definition(name, secret, &tasks)).await;
        let started = start(&host, name, json!({}), 0).await;
        let refused = ended(&host, &started["id"]).await;
        let detail = refused["error"]["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("`environment` or `stdin`"), "{refused}");
    }
    assert_nothing_is_kept(&host).await;
    host.stop().await;
}

#[tokio::test]
async fn a_program_leaves_the_history_of_any_task() {
    let host = host("\"shell\"", "").await;
    let ended = run(&host, "told", &shell("echo tea", &json!({}))).await;
    let rows = history(&host, &ended["id"]).await;
    let last = rows.last().expect("rows");
    assert_eq!(
        (&last["status"], &last["output"]),
        (&json!("completed"), &json!("tea\n"))
    );
    let sql = host.sql().await;
    let jobs = "select count(*) from jobs.dead where kind = 'orchestrator.process'";
    assert_eq!(count(&sql, jobs).await, 0);
    host.stop().await;
}

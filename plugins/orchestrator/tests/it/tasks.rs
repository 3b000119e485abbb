//! What each task does.

use std::fmt::Write as _;

use nself_plugin_orchestrator::engine::{
    Authentication, CallKind, Error, Need, Outcome, Process, Program, RecordStatus, Status,
};
use serde_json::{Value, json};

use crate::driver::{Driver, workflow};

fn run(tasks: &str, input: Value) -> (Status, Driver) {
    let mut driver = Driver::new(&workflow(tasks), input);
    (driver.run(), driver)
}

#[track_caller]
fn check(tasks: &str, input: Value, expected: &Value) -> Driver {
    let (status, driver) = run(tasks, input);
    assert_eq!(status, Status::Completed(expected.clone()), "{tasks}");
    driver
}

#[track_caller]
fn check_fault(tasks: &str, kind: &str, instance: &str) -> Error {
    let (status, _) = run(tasks, json!({}));
    let Status::Faulted(error) = status else {
        panic!("{status:?}: {tasks}");
    };
    assert!(error.kind.ends_with(kind), "{error:?}");
    assert_eq!(error.instance, instance, "{error:?}");
    error
}

#[test]
fn descriptors_say_who_runs_what() {
    check(
        "do:\n  - a: {set: {r: '${ $runtime.name }', t: '${ $task.reference }', w: '${ $workflow.id }', d: '${ $workflow.definition.document.name }', s: '${ $workflow.startedAt.epoch.seconds }'}}",
        json!({}),
        &json!({"r": "test", "t": "/do/0/a", "w": "instance", "d": "test", "s": 1_795_694_400}),
    );
}

#[test]
fn a_wait_lasts_until_its_timer_fires() {
    let driver = check(
        "do:\n  - a: {wait: PT1H}\n  - b: {set: {at: '${ now }'}}",
        json!({}),
        &json!({"at": 1_795_698_000}),
    );
    assert_eq!(driver.completed(), ["a", "b"]);
}

#[test]
fn errors_have_the_types_of_the_standard() {
    check_fault(
        "do:\n  - a: {set: {x: '${ error(\"no\") }'}}",
        "errors/expression",
        "/do/0/a",
    );
    check_fault(
        "do:\n  - a: {set: {x: '${ def f: f; f }'}}",
        "errors/expression",
        "/do/0/a",
    );
    check_fault(
        "do:\n  - a: {set: {x: 1}, output: {schema: {document: {type: array}}}}",
        "errors/validation",
        "/do/0/a",
    );
    check_fault(
        "do:\n  - a: {wait: PT1H, timeout: {after: PT1M}}",
        "errors/timeout",
        "/do/0/a",
    );
    check_fault(
        "timeout: {after: PT1M}\ndo:\n  - a: {wait: PT1H}",
        "errors/timeout",
        "/",
    );
    let grpc = "do:\n  - a: {call: grpc, with: {proto: {endpoint: 'file://x'}, service: {name: s, host: h}, method: m}}";
    let refused = check_fault(grpc, "errors/configuration", "/do/0/a");
    assert!(refused.detail.is_some_and(|detail| detail.contains("grpc")));
    let container = "do:\n  - a: {run: {container: {image: x}}}";
    check_fault(container, "errors/configuration", "/do/0/a");
}

#[test]
fn a_timeout_within_a_timeout_closes_all_that_is_open() {
    let tasks = "
use: {timeouts: {short: {after: PT1S}}}
do:
  - outer:
      timeout: short
      fork:
        branches:
          - one: {wait: PT1H}
          - two: {do: [{three: {listen: {to: {one: {with: {type: x}}}}}}]}";
    let (status, driver) = run(tasks, json!({}));
    assert!(matches!(status, Status::Faulted(error) if error.status == 408));
    assert_eq!(
        driver.named(RecordStatus::Cancelled),
        ["one", "three", "two"]
    );
}

#[test]
fn what_fails_is_tried_again_as_the_policy_says() {
    let tasks = "
do:
  - attempt:
      try: [{get: {call: http, with: {method: get, endpoint: 'https://a.test'}}}]
      catch:
        errors: {with: {status: 503}}
        retry: {delay: {seconds: 3}, backoff: {exponential: {}}, jitter: {from: PT0S, to: PT2S}, limit: {attempt: {count: 3}}}
        do: [{give_up: {set: {failed: '${ $error.status }'}}}]";
    let mut driver = Driver::new(&workflow(tasks), json!({}));
    driver.stub = Box::new(|_| (503, Value::Null));
    let start = driver.now;
    assert_eq!(driver.run(), Status::Completed(json!({"failed": 503})));
    // 3, 6 and 12 seconds, each with half of the jitter.
    assert_eq!(driver.now.duration_since(start).as_secs(), 24);
    assert_eq!(driver.named(RecordStatus::Retried).len(), 3);
    assert_eq!(driver.keys.len(), 4);
    assert!(
        driver.keys.iter().all(|key| *key == driver.keys[0]),
        "{:?}",
        driver.keys
    );
    let attempts: Vec<u32> = driver
        .records
        .iter()
        .filter(|r| r.name == "get" && r.status == RecordStatus::Started)
        .map(|r| r.attempt)
        .collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
}

#[test]
fn a_retry_that_succeeds_goes_on() {
    let tasks = "
use: {retries: {again: {delay: {seconds: 1}, backoff: {linear: {}}, limit: {attempt: {count: 5}}}}}
do:
  - attempt:
      try: [{get: {call: http, with: {method: get, endpoint: 'https://a.test'}}}]
      catch: {retry: again}";
    let mut driver = Driver::new(&workflow(tasks), json!({}));
    let mut answers = [503, 503, 200].into_iter();
    driver.stub = Box::new(move |_| (answers.next().expect("an answer"), json!({"ok": true})));
    let start = driver.now;
    assert_eq!(driver.run(), Status::Completed(json!({"ok": true})));
    assert_eq!(driver.now.duration_since(start).as_secs(), 3);
}

#[test]
fn an_error_that_is_not_meant_goes_on_up() {
    let tasks = |catch: &str| {
        format!("
do:
  - outer:
      try: [{{inner: {{try: [{{fail: {{raise: {{error: {{type: 'https://t.test/x', status: 400, detail: why}}}}}}}}], catch: {catch}}}}}]
      catch: {{as: e, do: [{{note: {{set: {{at: '${{ $e.instance }}'}}}}}}]}}")
    };
    let caught = json!({"at": "/do/0/outer/try/0/inner/try/0/fail"});
    for catch in [
        "{errors: {with: {status: 500}}}",
        "{when: '$error.status == 500'}",
        "{exceptWhen: '$error.detail == \"why\"'}",
        "{retry: {limit: {attempt: {count: 1}}}}",
    ] {
        check(&tasks(catch), json!({}), &caught);
    }
    check(
        &tasks("{errors: {with: {details: why}}}"),
        json!({"n": 1}),
        &json!({"n": 1}),
    );
}

#[test]
fn what_was_done_is_undone_by_the_catch_around_it() {
    let tasks = "
do:
  - saga:
      try:
        - book: {call: 'book:1.0.0@default', with: {id: 1}}
        - pay: {raise: {error: {type: 'https://t.test/x', status: 402}}}
      catch:
        do:
          - unbook: {call: 'unbook:1.0.0@default', with: {id: 1}}";
    let driver = check(
        tasks,
        json!({}),
        &json!({"called": "unbook", "with": {"id": 1}}),
    );
    assert_eq!(
        driver.keys,
        ["instance/saga/book", "instance/saga/catch/unbook"]
    );
}

#[test]
fn every_repetition_has_a_key_of_its_own() {
    let tasks = "
do:
  - each: {for: {in: '[1, 2]'}, do: [{f: {call: 'f:1.0.0@default', with: {n: '${ $item }'}}}]}
  - count: {set: {n: '${ ($context.n // 0) + 1 }'}, export: {as: '{n: $output.n}'}}
  - again: {call: 'g:1.0.0@default', with: {}}
  - loop: {switch: [{more: {when: '$context.n < 2', then: count}}]}";
    let (status, driver) = run(tasks, json!({}));
    assert!(matches!(status, Status::Completed(_)), "{status:?}");
    assert_eq!(
        driver.keys,
        [
            "instance/each[0]/f",
            "instance/each[1]/f",
            "instance/again",
            "instance/again#2"
        ]
    );
}

#[test]
fn a_loop_without_end_meets_the_limit() {
    let mut driver = Driver::new(&workflow("do:\n  - a: {set: {x: 1}, then: a}"), json!({}));
    driver.limits.tasks_max = 500;
    driver.limits.steps = 10;
    let Status::Faulted(error) = driver.run() else {
        panic!("it ended otherwise")
    };
    assert!(error.kind.ends_with("errors/runtime"), "{error}");
    assert!(driver.advances >= 50, "{}", driver.advances);
    let mut wide = Driver::new(
        &workflow("do:\n  - a: {fork: {branches: [{b: {set: {x: 1}}}, {c: {set: {x: 1}}}]}}"),
        json!({}),
    );
    wide.limits.branches_max = 2;
    assert!(matches!(wide.run(), Status::Faulted(_)));
    let mut deep = Driver::new(
        &workflow("use: {functions: {f: {do: [{g: {call: f}}]}}}\ndo:\n  - a: {call: f}"),
        json!({}),
    );
    assert!(matches!(deep.run(), Status::Faulted(_)));
}

#[test]
fn events_are_consumed_as_the_strategy_says() {
    let event =
        |kind: &str, data: Value| json!({"type": kind, "id": "1", "source": "s", "data": data});
    let check = |to: &str, events: Vec<Value>, expected: Value| {
        let mut driver = Driver::new(
            &workflow(&format!("do:\n  - hear:\n      listen: {to}")),
            json!({"order": 7}),
        );
        driver.events = events.into();
        assert_eq!(driver.run(), Status::Completed(expected), "{to}");
    };
    check(
        "{to: {one: {with: {type: b}}}}",
        vec![event("a", json!(1)), event("b", json!(2))],
        json!([2]),
    );
    check(
        "{to: {any: [{with: {type: a, data: '${ . > 3 }'}}, {with: {type: b}}]}}",
        vec![event("a", json!(1)), event("a", json!(4))],
        json!([4]),
    );
    check(
        "{to: {all: [{with: {type: a}}, {with: {type: b}}]}}",
        vec![
            event("b", json!(1)),
            event("b", json!(2)),
            event("a", json!(3)),
        ],
        json!([1, 3]),
    );
    check(
        "{to: {any: [], until: '(. | length) >= 2'}}",
        vec![event("a", json!(1)), event("b", json!(2))],
        json!([1, 2]),
    );
    check(
        "{to: {any: [{with: {type: a}}], until: {one: {with: {type: end}}}}}",
        vec![
            event("a", json!(1)),
            event("a", json!(2)),
            event("end", json!(0)),
        ],
        json!([1, 2]),
    );
    check(
        "{to: {one: {with: {type: a}, correlate: {o: {from: .data.order, expect: '${ .order }'}}}}}",
        vec![
            event("a", json!({"order": 6})),
            event("a", json!({"order": 7})),
        ],
        json!([{"order": 7}]),
    );
    check(
        "{to: {all: [{with: {type: a}, correlate: {o: {from: .data}}}, {with: {type: b}, correlate: {o: {from: .data}}}]}}",
        vec![
            event("a", json!(1)),
            event("b", json!(2)),
            event("b", json!(1)),
        ],
        json!([1, 1]),
    );
    check(
        "{to: {one: {with: {type: a}}}, read: envelope}",
        vec![event("a", json!(1))],
        json!([event("a", json!(1))]),
    );
}

#[test]
fn each_event_is_worked_on_in_its_turn() {
    let tasks = "
do:
  - hear:
      listen: {to: {any: [{with: {type: a}}], until: '(. | length) >= 3'}}
      foreach:
        item: event
        at: n
        do: [{rest: {wait: PT1S}}, {note: {set: {seen: '${ $event }', n: '${ $n }'}}}]
        output: {as: '.seen * 10 + .n'}
        export: {as: '{last: $output}'}
  - tell: {set: {all: '${ . }', last: '${ $context.last }'}}";
    let mut driver = Driver::new(&workflow(tasks), json!({}));
    driver.events = (1..=3).map(|n| json!({"type": "a", "data": n})).collect();
    assert_eq!(
        driver.run(),
        Status::Completed(json!({"all": [10, 21, 32], "last": 32}))
    );
}

#[test]
fn the_losers_of_a_race_are_called_off() {
    let tasks = "
do:
  - race:
      fork:
        compete: true
        branches:
          - event: {listen: {to: {one: {with: {type: never}}}}}
          - time: {do: [{rest: {wait: PT1S}}, {won: {set: {n: 1}}}]}
          - broken: {raise: {error: {type: 'https://t.test/x', status: 400}}}";
    let driver = check(tasks, json!({}), &json!({"n": 1}));
    assert_eq!(driver.named(RecordStatus::Cancelled), ["event"]);
    assert_eq!(driver.named(RecordStatus::Faulted), ["broken"]);
}

#[test]
fn a_branch_that_fails_takes_its_fork_with_it() {
    let tasks = "
do:
  - both:
      fork:
        branches:
          - slow: {wait: PT1H}
          - broken: {raise: {error: {type: 'https://t.test/x', status: 400}}}";
    check_fault(tasks, "/x", "/do/0/both/fork/branches/1/broken");
}

#[test]
fn functions_and_processes_answer() {
    check(
        "use: {functions: {double: {set: {n: '${ .n * 2 }'}}}}\ndo:\n  - a: {call: double, with: {n: '${ .x }'}}",
        json!({"x": 4}),
        &json!({"n": 8}),
    );
    check(
        "do:\n  - a: {run: {workflow: {namespace: n, name: other, version: '1.0.0', input: {v: '${ .x }'}}}}",
        json!({"x": 4}),
        &json!({"ran": "other", "with": {"v": 4}}),
    );
    for (wanted, expected) in [
        ("stdout", json!("out")),
        ("stderr", json!("err")),
        ("code", json!(3)),
        ("none", Value::Null),
        ("all", json!({"code": 3, "stdout": "out", "stderr": "err"})),
    ] {
        check(
            &format!("do:\n  - a: {{run: {{shell: {{command: ls}}, return: {wanted}}}}}"),
            json!({}),
            &expected,
        );
    }
    check(
        "do:\n  - a: {run: {shell: {command: ls}, await: false}}",
        json!({"x": 1}),
        &json!({"x": 1}),
    );
}

#[test]
fn extensions_run_before_and_after_and_may_take_the_place() {
    let tasks = "
use:
  extensions:
    - log:
        extend: all
        before: [{seen: {call: 'log:1.0.0@default', with: {task: '${ $task.name }'}}}]
    - mock:
        extend: call
        when: $task.definition.with.endpoint == \"https://mocked.test\"
        before: [{answer: {set: {mocked: true}, then: exit}}]
do:
  - a: {set: {x: 1}}
  - b: {call: http, with: {method: get, endpoint: 'https://mocked.test'}}";
    let driver = check(tasks, json!({}), &json!({"mocked": true}));
    assert_eq!(
        driver.keys,
        ["instance/a/before0/seen", "instance/b/before0/seen"]
    );
    assert_eq!(driver.completed(), ["seen", "a", "seen", "answer", "b"]);
}

#[test]
fn end_ends_all_of_it() {
    let tasks = "
do:
  - both:
      fork:
        branches:
          - wait: {wait: PT1H}
          - stop: {do: [{inner: {set: {done: true}, then: end}}]}
  - never: {set: {x: 1}}";
    check(tasks, json!({}), &json!({"done": true}));
}

#[test]
fn what_is_cancelled_leaves_nothing_open() {
    let tasks =
        "do:\n  - a: {fork: {branches: [{b: {wait: PT1H}}, {c: {listen: {to: {any: []}}}}]}}";
    let mut driver = Driver::new(&workflow(tasks), json!({}));
    assert_eq!(driver.advance(Vec::new()), Status::Waiting);
    let open = driver.needs.len();
    let progress = driver.around(nself_plugin_orchestrator::engine::Program::cancel);
    assert_eq!(
        (open, progress.closed.len(), progress.status),
        (2, 2, Status::Cancelled)
    );
    let names: Vec<&str> = progress
        .records
        .iter()
        .map(|record| record.name.as_str())
        .collect();
    assert_eq!(names, ["c", "b", "a"]);
    driver.needs.clear();
    assert_eq!(driver.run(), Status::Cancelled);
}

#[test]
fn what_failed_can_be_tried_again_where_it_failed() {
    let tasks = "
do:
  - both:
      fork:
        branches:
          - slow: {do: [{rest: {wait: PT1H}}, {late: {set: {n: 1}}}]}
          - get: {call: http, with: {method: get, endpoint: 'https://a.test'}}";
    let mut driver = Driver::new(&workflow(tasks), json!({}));
    let mut answers = [500, 200].into_iter();
    driver.stub = Box::new(move |_| (answers.next().expect("an answer"), json!({"n": 2})));
    driver.forgetful = true;
    assert!(matches!(driver.run(), Status::Faulted(_)));
    driver
        .around(nself_plugin_orchestrator::engine::Program::retry_failed)
        .expect("it has failed");
    assert_eq!(driver.run(), Status::Completed(json!([{"n": 1}, {"n": 2}])));
    assert_eq!(driver.keys[0], driver.keys[1]);
    driver
        .around(nself_plugin_orchestrator::engine::Program::retry_failed)
        .expect_err("it has not failed");
}

#[test]
fn a_workflow_that_took_too_long_gets_its_time_again() {
    let tasks = "
timeout: {after: PT1M}
do:
  - both: {fork: {branches: [{hear: {listen: {to: {one: {with: {type: a}}}}}}, {rest: {wait: PT30S}}]}}";
    let mut driver = Driver::new(&workflow(tasks), json!({}));
    driver.forgetful = true;
    assert!(matches!(driver.run(), Status::Faulted(error) if error.status == 408));
    driver.around(Program::retry_failed).expect("it has failed");
    assert_eq!(driver.advance(Vec::new()), Status::Waiting);
    assert_eq!(
        driver.needs.len(),
        2,
        "the listener and the timeout: {:?}",
        driver.needs
    );
    driver.events.push_back(json!({"type": "a", "data": 1}));
    assert_eq!(driver.run(), Status::Completed(json!([[1], {}])));
}

#[test]
fn an_outcome_that_comes_too_late_means_nothing() {
    let mut driver = Driver::new(
        &workflow(
            "do:\n  - a: {call: http, with: {method: get, endpoint: 'https://a.test'}, timeout: {after: PT1S}}",
        ),
        json!({}),
    );
    driver.advance(Vec::new());
    let needs: Vec<_> = driver
        .needs
        .iter()
        .map(|(id, need)| (*id, need.clone()))
        .collect();
    let timer = needs
        .iter()
        .find(|(_, need)| matches!(need, Need::Timer { .. }))
        .expect("a timer")
        .0;
    let call = needs
        .iter()
        .find(|(_, need)| matches!(need, Need::Call(_)))
        .expect("a call")
        .0;
    let status = driver.advance(vec![
        (timer, Outcome::Fired),
        (call, Outcome::Completed(json!(1))),
    ]);
    assert!(matches!(status, Status::Faulted(error) if error.status == 408));
}

#[test]
fn a_request_is_ready_to_be_sent() {
    let tasks = "
use: {authentications: {me: {basic: {username: u, password: '${ .pw }'}}}}
do:
  - a:
      call: http
      with:
        method: post
        endpoint: {uri: 'https://a.test/{user.id}/{name}', authentication: {use: me}}
        headers: {X-N: '${ .n | tostring }'}
        query: '${ {q: .name} }'
        body: {deep: [{n: '${ .n }'}]}";
    let input = json!({"user": {"id": 5}, "name": "a b/c", "n": 3, "pw": "p"});
    let mut driver = Driver::new(&workflow(tasks), input);
    driver.advance(Vec::new());
    let (_, Need::Call(call)) = driver.only_need() else {
        panic!("no call")
    };
    let CallKind::Http(http) = call.kind else {
        panic!("no request")
    };
    assert_eq!(
        (http.method.as_str(), http.endpoint.as_str()),
        ("POST", "https://a.test/5/a%20b%2Fc")
    );
    assert_eq!(
        (&http.headers["X-N"], &http.query["q"]),
        (&"3".to_owned(), &"a b/c".to_owned())
    );
    assert_eq!(http.body, Some(json!({"deep": [{"n": 3}]})));
    assert!(
        http.authentication
            == Some(Authentication::Basic {
                username: "u".to_owned(),
                password: "p".to_owned()
            })
    );
}

#[test]
fn a_secret_is_in_requests_and_nowhere_else() {
    let tasks = "
use:
  secrets: [key, login]
do:
  - take: {set: {token: '${ \"x-\" + $secrets.key }', name: '${ .name }'}}
  - call:
      call: http
      with:
        method: get
        endpoint: {uri: 'https://a.test/{name}', authentication: {basic: {use: login}}}
        headers: {Authorization: '${ .token | @base64 }', Plain: '${ $secrets.key }'}
  - shell: {run: {shell: {command: ls, environment: {K: '${ $secrets.login.password }'}}, return: none}}
  - check: {if: '$secrets.key == \"correct-horse\"', set: {seen: true}}
  - fail: {raise: {error: {type: 'https://t.test/x', status: 400, detail: '${ \"it was \" + $secrets.key }'}}}";
    let secrets =
        json!({"key": "correct-horse", "login": {"username": "u", "password": "battery-staple"}});
    let mark = "\u{27e6}secret:key\u{27e7}";
    // Who starts it cannot name a secret either.
    let mut driver = Driver::with_secrets(&workflow(tasks), json!({"name": mark}), secrets);
    driver.stub = Box::new(|call| {
        assert_eq!(call.headers["Plain"], "correct-horse");
        assert_eq!(call.headers["Authorization"], "eC1jb3JyZWN0LWhvcnNl");
        assert!(
            !call.endpoint.contains("correct-horse"),
            "{}",
            call.endpoint
        );
        assert!(
            matches!(&call.authentication, Some(Authentication::Basic { password, .. }) if password == "battery-staple")
        );
        // A server that repeats what it was sent.
        (200, json!({"echo": {"you sent": "correct-horse"}}))
    });
    let mut told = String::new();
    let mut needs = 0;
    let status = loop {
        let status = driver.advance(Vec::new());
        told.push_str(&serde_json::to_string(&driver.state).expect("JSON"));
        if let Some((_, Need::Run(run))) = driver.needs.iter().next() {
            let Process::Shell(shell) = &run.process else {
                panic!("no shell")
            };
            assert_eq!(shell["environment"]["K"], "battery-staple");
            needs += 1;
        }
        write!(told, "{:?}", driver.needs).expect("a text takes all");
        if status.is_final() {
            break status;
        }
        let status = driver.run();
        told.push_str(&serde_json::to_string(&driver.state).expect("JSON"));
        if status.is_final() {
            break status;
        }
    };
    told.push_str(&serde_json::to_string(&driver.records).expect("JSON"));
    write!(told, "{status:?} {needs}").expect("a text takes all");
    assert!(matches!(status, Status::Faulted(_)), "{status:?}");
    assert!(
        driver.completed().contains(&"check"),
        "a condition sees the secret"
    );
    for secret in ["correct-horse", "battery-staple", "Y29ycmVjdC"] {
        assert!(!told.contains(secret), "{secret} is in {told}");
    }
    assert!(told.contains(mark), "the mark stands in its place");
}

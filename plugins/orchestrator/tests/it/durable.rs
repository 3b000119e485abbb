//! Durability: a state that is written and read between any two steps comes to the same end.

use std::collections::VecDeque;

use nself_plugin_orchestrator::engine::{State, Status};
use serde_json::{Value, json};

use crate::driver::{Driver, workflow};

/// Something of everything.
const EVERYTHING: &str = "
use:
  functions: {twice: {set: {n: '${ .n * 2 }'}}}
  retries: {often: {delay: PT1S, backoff: {exponential: {}}, limit: {attempt: {count: 4}}}}
  extensions:
    - log: {extend: call, before: [{seen: {call: 'log:1.0.0@default', with: {t: '${ $task.reference }'}}}]}
do:
  - each:
      for: {each: x, in: .items}
      do:
        - one: {set: {items: '${ .items }', sum: '${ (.sum // 0) + $x }'}}
        - rest: {wait: PT1S}
  - attempt:
      try:
        - get: {call: http, with: {method: get, endpoint: 'https://a.test/{sum}'}}
      catch: {retry: often}
  - both:
      timeout: {after: PT10M}
      fork:
        branches:
          - hear:
              listen: {to: {any: [{with: {type: a}}], until: '(. | length) >= 2'}}
              foreach: {item: e, do: [{pause: {wait: PT1M}}, {keep: {set: {e: '${ $e }'}}}]}
          - say:
              do:
                - emit: {emit: {event: {with: {source: 'https://t.test', type: told, data: {n: 1}}}}}
                - twice: {call: twice, with: {n: 21}}
          - race:
              fork:
                compete: true
                branches:
                  - long: {wait: PT1H}
                  - short: {wait: PT2S}
      export: {as: '{both: .}'}
  - choose: {switch: [{many: {when: 'length > 2', then: last}}, {else: {then: end}}]}
  - skipped: {set: {never: true}}
  - last: {set: {n: '${ .[1].n }', heard: '${ .[0] | map(.e) }', kept: '${ $context.both | length }'}}
";

struct Run {
    status: Status,
    keys: Vec<String>,
    records: Value,
    advances: u64,
}

fn run(steps: u32, pause: bool, forgetful: bool) -> Run {
    let mut driver = Driver::new(&workflow(EVERYTHING), json!({"items": [1, 2, 3]}));
    driver.limits.steps = steps;
    driver.limits.pause_after_task = pause;
    driver.forgetful = forgetful;
    driver.events = VecDeque::from([
        json!({"type": "a", "data": 1}),
        json!({"type": "b", "data": 0}),
        json!({"type": "a", "data": 2}),
    ]);
    let mut asked = 0;
    driver.stub = Box::new(move |call| {
        asked += 1;
        assert_eq!(call.endpoint, "https://a.test/6");
        if asked < 3 {
            (503, Value::Null)
        } else {
            (200, json!({"ok": true}))
        }
    });
    let status = driver.run();
    let records = driver
        .records
        .iter()
        .map(|record| json!([record.position, record.status, record.attempt]))
        .collect();
    Run {
        status,
        keys: driver.keys,
        records,
        advances: driver.advances,
    }
}

#[test]
fn a_state_that_is_written_and_read_between_any_two_steps_comes_to_the_same_end() {
    let whole = run(u32::MAX, false, false);
    let expected = json!({"n": 42, "heard": [1, 2], "kept": 3});
    assert_eq!(whole.status, Status::Completed(expected));
    for (steps, pause) in [
        (1, false),
        (2, false),
        (3, false),
        (7, false),
        (u32::MAX, true),
        (1_000, false),
    ] {
        let other = run(steps, pause, true);
        assert_eq!(other.status, whole.status, "{steps}");
        assert_eq!(sorted(other.keys), sorted(whole.keys.clone()), "{steps}");
        assert_eq!(other.records, whole.records, "{steps}");
        if steps == 1 {
            assert!(other.advances > 40, "{}", other.advances);
        }
    }
}

fn sorted(mut keys: Vec<String>) -> Vec<String> {
    keys.sort();
    keys
}

#[test]
fn a_driver_that_asks_for_it_stands_still_after_every_task() {
    let mut driver = Driver::new(
        &workflow("do:\n  - a: {set: {n: 1}}\n  - b: {set: {n: 2}}\n  - c: {set: {n: 3}}"),
        json!({}),
    );
    driver.limits.pause_after_task = true;
    for name in ["a", "b"] {
        assert_eq!(driver.advance(Vec::new()), Status::Running);
        assert_eq!(driver.completed().last(), Some(&name));
    }
    // The last task's result is kept, too, before the workflow ends.
    assert_eq!(driver.run(), Status::Completed(json!({"n": 3})));
    assert_eq!(driver.completed(), ["a", "b", "c"]);
}

#[test]
fn a_state_of_a_later_host_is_refused() {
    let driver = Driver::new(&workflow("do:\n  - a: {set: {n: 1}}"), json!({}));
    let mut state = serde_json::to_value(&driver.state).expect("it is written");
    state["version"] = json!(60_000);
    let refused = serde_json::from_value::<State>(state).expect_err("it is of a later host");
    assert!(refused.to_string().contains("60000"), "{refused}");
}

#[test]
fn a_program_is_shared_by_threads() {
    fn check<T: Send + Sync>() {}
    check::<nself_plugin_orchestrator::engine::Program>();
}

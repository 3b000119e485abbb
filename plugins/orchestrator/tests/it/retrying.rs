//! Retries: when they come, how many there are, and which errors they are for.

use nself_plugin_orchestrator::engine::{RecordStatus, Status};
use serde_json::{Value, json};

use crate::driver::{Driver, workflow};

/// Tries a call that is answered with these statuses, the last one for all that come after; how it ends, and at which seconds the
/// call begins.
fn tried(catch: &str, statuses: &'static [u16]) -> (Status, Vec<i64>) {
    let tasks = format!(
        "do:\n  - outer:\n      try: [{{get: {{call: http, with: {{method: get, endpoint: 'https://a.test'}}}}}}]\n      catch: {catch}"
    );
    ran(&tasks, statuses)
}

fn ran(tasks: &str, statuses: &'static [u16]) -> (Status, Vec<i64>) {
    let mut driver = Driver::new(&workflow(tasks), json!({}));
    let mut answers = statuses.iter();
    let mut last = 0;
    driver.stub = Box::new(move |_| {
        last = answers.next().copied().unwrap_or(last);
        (last, Value::Null)
    });
    let start = driver.now;
    let status = driver.run();
    let begun = driver
        .records
        .iter()
        .filter(|record| record.name == "get" && record.status == RecordStatus::Started)
        .map(|record| record.at.duration_since(start).as_secs());
    (status, begun.collect())
}

#[track_caller]
fn check(policy: &str, begun: &[i64]) {
    let (status, found) = tried(&format!("{{retry: {policy}}}"), &[503]);
    assert_eq!(found, begun, "{policy}");
    assert!(
        matches!(&status, Status::Faulted(error) if error.status == 503),
        "{status:?}"
    );
}

#[test]
fn a_backoff_is_constant_linear_or_exponential_and_jitter_comes_on_top() {
    let limit = "limit: {attempt: {count: 3}}";
    for (backoff, begun) in [
        ("delay: PT3S", [0, 3, 6, 9]),
        ("delay: {seconds: 3}, backoff: {constant: {}}", [0, 3, 6, 9]),
        ("delay: PT3S, backoff: {linear: {}}", [0, 3, 9, 18]),
        ("delay: PT3S, backoff: {exponential: {}}", [0, 3, 9, 21]),
        // Half of the way from the one bound to the other.
        (
            "delay: PT3S, jitter: {from: PT1S, to: PT3S}",
            [0, 5, 10, 15],
        ),
        (
            "delay: PT3S, backoff: {linear: {}}, jitter: {from: PT1S, to: PT1S}",
            [0, 4, 11, 21],
        ),
        (
            "delay: PT3S, backoff: {exponential: {}}, jitter: {from: PT0S, to: PT4S}",
            [0, 5, 13, 27],
        ),
        ("jitter: {from: PT2S, to: PT4S}", [0, 3, 6, 9]),
        ("backoff: {exponential: {}}", [0, 0, 0, 0]),
    ] {
        check(&format!("{{{backoff}, {limit}}}"), &begun);
    }
}

#[test]
fn a_count_is_of_what_is_tried_again() {
    check("{delay: PT1S, limit: {attempt: {count: 0}}}", &[0]);
    check("{delay: PT1S, limit: {attempt: {count: 1}}}", &[0, 1]);
}

#[test]
fn nothing_is_tried_again_when_the_time_for_it_is_over() {
    check("{delay: PT4S, limit: {duration: PT10S}}", &[0, 4, 8]);
    check("{delay: PT4S, limit: {duration: PT8S}}", &[0, 4, 8]);
    check("{delay: PT4S, limit: {duration: PT3S}}", &[0]);
    // Whichever comes first.
    check(
        "{delay: PT4S, limit: {attempt: {count: 1}, duration: PT10S}}",
        &[0, 4],
    );
    check(
        "{delay: PT4S, limit: {attempt: {count: 9}, duration: PT5S}}",
        &[0, 4],
    );
}

#[test]
fn an_attempt_that_takes_too_long_is_over_and_the_next_one_begins() {
    let tasks = "
do:
  - outer:
      try: [{get: {set: {x: 1}}}, {rest: {wait: PT1H}}]
      catch: {errors: {with: {status: 408}}, retry: {delay: PT1S, limit: {attempt: {count: 2, duration: PT2S}}}}";
    let (status, begun) = ran(tasks, &[200]);
    assert_eq!(begun, [0, 3, 6]);
    let Status::Faulted(error) = status else {
        panic!("{status:?}")
    };
    assert!(error.kind.ends_with("/timeout"), "{error}");
}

#[test]
fn a_policy_is_for_the_errors_that_it_says() {
    let limit = "limit: {attempt: {count: 5}}";
    for (conditions, statuses, begun) in [
        ("when: $error.status == 503", &[503, 503, 400][..], 3),
        ("when: '${ $error.status == 503 }'", &[400], 1),
        ("exceptWhen: $error.status == 400", &[503, 400], 2),
        (
            "when: $error.status > 400, exceptWhen: $error.status == 404",
            &[503, 404],
            2,
        ),
        // It sees the input of the task as well.
        ("when: .patience == true", &[503], 1),
    ] {
        let (status, found) = tried(&format!("{{retry: {{{conditions}, {limit}}}}}"), statuses);
        assert_eq!(found.len(), begun, "{conditions}");
        let last = *statuses.last().expect("a status");
        assert!(
            matches!(&status, Status::Faulted(error) if error.status == last),
            "{status:?}"
        );
    }
}

#[test]
fn an_error_that_the_policy_is_not_for_goes_to_what_the_catch_does() {
    let catch = "{as: e, retry: {exceptWhen: $e.status == 400, limit: {attempt: {count: 5}}}, do: [{note: {set: {was: '${ $e.status }'}}}]}";
    let (status, begun) = tried(catch, &[503, 400]);
    assert_eq!(
        (status, begun.len()),
        (Status::Completed(json!({"was": 400})), 2)
    );
}

#[test]
fn a_context_that_is_not_what_its_schema_says_is_not_kept() {
    let tasks = "
do:
  - outer:
      try:
        - good: {set: {n: 1}, export: {as: '{n: .n}', schema: {document: {type: object, properties: {n: {type: integer}}}}}}
        - bad: {set: {n: many}, export: {as: '{n: .n}', schema: {document: {type: object, properties: {n: {type: integer}}}}}}
      catch: {as: e, do: [{note: {set: {n: '${ $context.n }', at: '${ $e.instance }', type: '${ $e.type }', why: '${ $e.detail }'}}}]}";
    let (status, _) = ran(tasks, &[200]);
    let Status::Completed(output) = status else {
        panic!("{status:?}")
    };
    let kind = "https://serverlessworkflow.io/spec/1.0.0/errors/validation";
    assert_eq!(
        (&output["n"], &output["at"], &output["type"]),
        (&json!(1), &json!("/do/0/outer/try/1/bad"), &json!(kind))
    );
    let why = output["why"].as_str().expect("a text");
    assert!(why.contains("/n") && !why.contains("many"), "{why}");
}

//! Definitions: what is good, and what is wrong with the rest.

use nself_plugin_orchestrator::dsl::{Definition, Fault, Format, duration};
use serde_json::json;

use crate::driver::{parse, workflow};

fn faults(text: &str) -> Vec<Fault> {
    Definition::parse(text, Format::Yaml).expect_err(text)
}

/// The first fault stands at this line and path, and says these words.
#[track_caller]
fn check(tasks: &str, line: usize, path: &str, words: &str) {
    let faults = faults(&workflow(tasks));
    let first = &faults[0];
    assert_eq!(
        (first.line, first.path.as_str()),
        (line, path),
        "{faults:#?}"
    );
    assert!(first.to_string().contains(words), "{first}");
    assert!(!first.remedy.is_empty(), "{first}");
}

#[test]
fn a_mistake_of_form_is_named_with_its_line() {
    check(
        "do:\n  - get:\n      call: http\n      with: {method: get, endpoint: 'https://a.test'}\n      foo: bar",
        6,
        "/do/0/get/foo",
        "foo",
    );
    check(
        "do:\n  - a: {set: {x: 1}}\n    b: {set: {x: 2}}",
        3,
        "/do/0",
        "`-` of its own",
    );
    check("do:\n  - a:\n      sett: {x: 1}", 3, "/do/0/a", "no task");
    check(
        "do:\n  - a:\n      call: http\n      with:\n        method: get",
        5,
        "/do/0/a/with",
        "endpoint",
    );
    check("do:\n  - a:\n      wait: soon", 4, "/do/0/a/wait", "soon");
    check("do:\n  - a: {set: {x: 1}}\ndo: []", 4, "/do", "twice");
    check(
        "do:\n  - a:\n      listen: {to: {any: [], one: {with: {type: x}}}}",
        4,
        "/do/0/a/listen/to",
        "",
    );
}

#[test]
fn a_text_that_cannot_be_read_is_named_with_its_line() {
    let faults = faults("document:\n  dsl: '1.0.3\n");
    assert!(faults[0].line > 0, "{faults:?}");
    let faults = Definition::parse("{\n\"do\": [}", Format::Json).expect_err("no JSON");
    assert_eq!(faults[0].line, 2, "{faults:?}");
}

#[test]
fn what_is_named_must_be_there() {
    check(
        "do:\n  - a: {set: {x: 1}, then: nowhere}",
        3,
        "/do/0/a/then",
        "nowhere",
    );
    check(
        "do:\n  - a: {set: {x: 1}}\n  - a: {set: {x: 2}}",
        4,
        "/do/1/a",
        "too",
    );
    check("do:\n  - a: {call: nothing}", 3, "/do/0/a/call", "nothing");
    check(
        "do:\n  - a: {call: 'f:1.0.0@elsewhere'}",
        3,
        "/do/0/a/call",
        "elsewhere",
    );
    check(
        "do:\n  - a: {raise: {error: gone}}",
        3,
        "/do/0/a/raise/error",
        "gone",
    );
    check(
        "do:\n  - a: {set: {x: 1}, timeout: long}",
        3,
        "/do/0/a/timeout",
        "long",
    );
    check(
        "do:\n  - a: {try: [], catch: {retry: often}}",
        3,
        "/do/0/a/catch/retry",
        "often",
    );
    check(
        "do:\n  - a: {call: http, with: {method: get, endpoint: {uri: 'https://a.test', authentication: {use: me}}}}",
        3,
        "/do/0/a/with/endpoint/authentication/use",
        "me",
    );
    check(
        "do:\n  - a:\n      switch:\n        - one: {then: nowhere}",
        5,
        "/do/0/a/switch/0/one/then",
        "nowhere",
    );
    check(
        "do:\n  - a:\n      fork:\n        branches:\n          - b: {set: {x: 1}, then: c}\n          - c: {set: {x: 2}}",
        6,
        "/do/0/a/fork/branches/0/b/then",
        "c",
    );
    // A task of another depth is out of reach.
    check(
        "do:\n  - a:\n      do:\n        - b: {set: {x: 1}, then: c}\n  - c: {set: {x: 2}}",
        5,
        "/do/0/a/do/0/b/then",
        "c",
    );
}

#[test]
fn an_expression_must_read() {
    check(
        "do:\n  - a:\n      set: {x: '${ .a + }'}",
        4,
        "/do/0/a/set/x",
        "cannot be read",
    );
    check(
        "do:\n  - a:\n      if: '.a =='\n      set: {x: 1}",
        4,
        "/do/0/a/if",
        "cannot be read",
    );
    check(
        "do:\n  - a:\n      set: {x: 1}\n      output: {as: 'nothing_like_it'}",
        5,
        "/do/0/a/output/as",
        "nothing_like_it",
    );
}

#[test]
fn only_version_1_0_runs() {
    let text = workflow("do: []").replace("1.0.3", "0.8.0");
    assert!(faults(&text)[0].to_string().contains("0.8.0"));
}

#[test]
fn every_fault_is_told_in_the_order_of_the_text() {
    let faults = faults(&workflow(
        "do:\n  - a: {set: {x: 1}, then: b}\n  - c: {set: {x: 1}, then: d}",
    ));
    let lines: Vec<usize> = faults.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [3, 4]);
}

#[test]
fn json_is_read_as_well() {
    let definition = parse(&workflow("do:\n  - a: {set: {x: 1}}"));
    let text = serde_json::to_string(&definition.source).expect("JSON");
    let again = Definition::parse(&text, Format::Json).expect("it is good");
    assert_eq!(again.source, definition.source);
    assert_eq!(again.document.name, "test");
}

#[test]
fn a_duration_means_what_it_says() {
    for (value, seconds) in [
        (
            json!({"days": 1, "hours": 1, "minutes": 1, "seconds": 1}),
            90_061.0,
        ),
        (json!({"milliseconds": 250}), 0.25),
        (json!("PT15M"), 900.0),
        (json!("P1DT2H"), 93_600.0),
        (json!("PT0.1S"), 0.1),
        (json!("P2W"), 1_209_600.0),
    ] {
        let span = duration(&value).unwrap_or_else(|| panic!("{value}"));
        assert!(
            (span.as_secs_f64() - seconds).abs() < 1e-6,
            "{value}: {span:?}"
        );
    }
    for nothing in [
        json!("P"),
        json!("15M"),
        json!("PT"),
        json!({"years": 1}),
        json!(3),
    ] {
        assert_eq!(duration(&nothing), None, "{nothing}");
    }
}

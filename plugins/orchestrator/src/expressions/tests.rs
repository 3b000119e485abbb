//! What expressions give, and what stops those that would give too much.

use serde_json::{Value, json};

use super::{Bounds, Expressions};

const BOUNDS: Bounds = Bounds {
    steps: 200_000,
    bytes: 1 << 20,
    now_ms: 0,
};

fn evaluate(expression: &str, input: &Value) -> Result<Value, String> {
    let variables = |name: &str| match name {
        "context" => Some(json!({"a": 1})),
        "item" => Some(json!([1, 2])),
        _ => None,
    };
    Expressions::default().evaluate(expression, input, &variables, BOUNDS)
}

#[track_caller]
fn check(expression: &str, input: &Value, expected: &Value) {
    assert_eq!(
        evaluate(expression, input).as_ref(),
        Ok(expected),
        "{expression}"
    );
}

#[track_caller]
fn check_refused(expression: &str, words: &str) {
    let refused = evaluate(expression, &Value::Null).expect_err(expression);
    assert!(refused.contains(words), "{expression}: {refused}");
}

#[test]
fn an_expression_reads_its_input_and_its_variables() {
    check("${ .a + $context.a }", &json!({"a": 2}), &json!(3));
    check(".a", &json!({"a": 2}), &json!(2));
    check("$item | map(. * 2) | add", &Value::Null, &json!(6));
    check("10 / 2", &Value::Null, &json!(5));
    check(
        "[range(5)] | map(select(. % 2 == 0))",
        &Value::Null,
        &json!([0, 2, 4]),
    );
    check("[range(3; 9; 3)]", &Value::Null, &json!([3, 6]));
    check(
        ".colors += [\"red\"]",
        &json!({"colors": []}),
        &json!({"colors": ["red"]}),
    );
    check(
        "[.. | numbers]",
        &json!({"a": [1, {"b": 2}]}),
        &json!([1, 2]),
    );
    check("[paths]", &json!({"a": [1]}), &json!([["a"], ["a", 0]]));
    check("map_values(. + 1)", &json!({"a": 1}), &json!({"a": 2}));
    check(". as {a: $x} | $x", &json!({"a": 1}), &json!(1));
    check("\"ab\" * 2", &Value::Null, &json!("abab"));
    check("{a: 1} * {b: 2}", &Value::Null, &json!({"a": 1, "b": 2}));
    check("empty", &Value::Null, &Value::Null);
    check(
        "\"Hello \\(.name)\"",
        &json!({"name": "you"}),
        &json!("Hello you"),
    );
    check("[limit(3; repeat(1))]", &Value::Null, &json!([1, 1, 1]));
    check(
        "def f: if . >= 5000 then . else . + 1 | f end; 0 | f",
        &Value::Null,
        &json!(5_000),
    );
    check("del(.a) | has(\"a\")", &json!({"a": 1}), &json!(false));
    check("now", &Value::Null, &json!(0));
}

#[test]
fn an_expression_without_end_is_stopped() {
    for expression in [
        "def f: f; f",
        "[repeat(1)]",
        "last(range(infinite))",
        "def f: try f catch f; f",
        "def f: f?, f?; [f]",
        "reduce repeat(1) as $x (0; $x)",
    ] {
        check_refused(expression, "");
    }
    check_refused("last(repeat(1))", "too many steps");
    check_refused("def f: 1 + f; f", "too deep");
}

#[test]
fn a_value_without_bound_is_stopped() {
    check_refused("\"x\" * 1000000000", "too large");
    check_refused("\"x\" * 1e9", "too large");
    check_refused("reduce range(60) as $i (\"x\"; . + .)", "too large");
    check_refused("reduce range(60) as $i (\"x\"; . += .)", "too large");
    check_refused("reduce range(60) as $i ([1]; [., .])", "too large");
    check_refused("reduce range(60) as $i (1; {a: ., b: .})", "too large");
    check_refused("reduce range(10000) as $i (1; [.])", "too deep");
    check_refused("reduce range(60) as $i (3; . * .)", "too large");
}

#[test]
fn an_expression_sees_nothing_of_the_host() {
    for expression in [
        "env",
        "$ENV",
        "input",
        "halt",
        "stderr",
        "debug",
        "get_search_list",
        "$__prog_args",
    ] {
        evaluate(expression, &Value::Null).expect_err(expression);
    }
}

#[test]
fn a_mistake_is_named_with_its_place() {
    check_refused("${ .a + }", "at its end");
    check_refused("nothing_like_that(1)", "nothing_like_that");
    check_refused("$nobody", "$nobody is not available");
}

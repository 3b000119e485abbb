//! A second opinion on rules: what python-dateutil says about hundreds of them that were made at random.

use crate::support::{definition, instant, read};

const CASES: &str = include_str!("vectors/dateutil.txt");

fn check(case: &str) {
    let (spec, expected) = case.rsplit_once("\n> ").expect("a case has occurrences");
    let (expected, is_whole) = match expected.trim_end().strip_suffix(" end") {
        Some(expected) => (expected, true),
        None => (expected.trim_end(), false),
    };
    let expected: Vec<&str> = expected.split(' ').collect();
    let got: Vec<String> = read(&definition(spec))
        .after(instant("1980-01-01T00:00:00Z"))
        .take(expected.len() + usize::from(is_whole))
        .map(|fire| fire.strftime("%Y%m%dT%H%M%S").to_string())
        .collect();
    assert_eq!(got, expected, "{spec}");
}

#[test]
fn both_name_the_same_times_for_hundreds_of_rules() {
    let cases: Vec<&str> = CASES.split("\n\n").skip(1).collect();
    assert_eq!(cases.len(), 312);
    for case in cases {
        check(case);
    }
}

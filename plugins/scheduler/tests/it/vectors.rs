//! Published fire times: each case of `vectors/fires.txt`.

use nself_plugin_scheduler::{Definition, Gap, Overlap};

use crate::support::{definition, fires, instant, read};

const CASES: &str = include_str!("vectors/fires.txt");

fn check(case: &str) {
    let mut definition = definition("");
    let (mut after, mut expected) = (None, Vec::new());
    let mut spec = Vec::new();
    for line in case
        .lines()
        .skip(1)
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
    {
        let (key, value) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        match key {
            "spec" => spec.push(value),
            "zone" => definition.zone = Some(value),
            "gap" => definition.gap = if value == "skip" { Gap::Skip } else { Gap::Run },
            "overlap" => {
                definition.overlap_time = if value == "both" {
                    Overlap::Both
                } else {
                    Overlap::First
                }
            }
            "start" => definition.start_at = Some(instant(value)),
            "end" => definition.end_at = Some(instant(value)),
            "after" => after = Some(instant(value)),
            "fires" => expected.extend(value.split_whitespace().map(full)),
            _ => panic!("what is {key:?} in {case}"),
        }
    }
    let spec = spec.join("\n");
    let timing = read(&Definition {
        spec: &spec,
        ..definition
    });
    let (ends, expected) = match expected.split_last() {
        Some((last, rest)) if last == "end" => (true, rest.to_vec()),
        _ => (false, expected),
    };
    let got = fires(
        &timing,
        after.expect("a case says after when"),
        expected.len() + usize::from(ends),
    );
    assert_eq!(got, expected, "{case}");
}

/// Seconds are written only where there are any.
fn full(text: &str) -> String {
    if text.len() == "2026-03-08T03:00-04:00".len() {
        format!("{}:00{}", &text[..16], &text[16..])
    } else {
        text.to_owned()
    }
}

#[test]
fn each_published_case_fires_as_it_says() {
    let cases: Vec<&str> = CASES.split("\n== ").skip(1).collect();
    assert!(
        cases.len() > 60,
        "the file has been read whole: {}",
        cases.len()
    );
    for case in cases {
        check(case);
    }
}

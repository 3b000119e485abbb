//! The examples of RFC 5545, section 3.8.5.3: all of them, as they are printed.

use jiff::{Timestamp, civil::date, tz::TimeZone};
use nself_plugin_scheduler::Definition;

use crate::support::{definition, instant, read};

const CASES: &str = include_str!("vectors/rfc5545.txt");

/// The occurrences of a line such as `1997-09 2-4,9 09:00,12:00 EDT`.
fn occurrences(line: &str) -> Vec<String> {
    let [month, days, times, zone] = line.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{line:?} is not month, days, times and zone");
    };
    let days = days.split(',').flat_map(|days| {
        let (first, last) = days.split_once('-').unwrap_or((days, days));
        let day = |text: &str| text.parse::<u8>().expect("a day");
        day(first)..=day(last)
    });
    days.flat_map(|day| {
        times
            .split(',')
            .map(move |time| format!("{month}-{day:02} {time} {zone}"))
    })
    .collect()
}

fn check(case: &str) {
    let mut lines = case.lines();
    let title = lines.next().unwrap_or_default();
    let (mut content, mut expected, mut is_endless) = (Vec::new(), Vec::new(), false);
    for line in lines {
        match line.strip_prefix("> ") {
            Some("...") => is_endless = true,
            Some(line) => expected.extend(occurrences(line)),
            None if line.starts_with(|first: char| first.is_ascii_uppercase()) => {
                content.push(line);
            }
            None => {}
        }
    }
    let spec = content.join("\r\n");
    let timing = read(&Definition {
        ..definition(&spec)
    });
    let tz = timing.zone().tz().clone();
    let got: Vec<String> = timing
        .after(instant("1990-01-01T00:00:00Z"))
        .take(expected.len() + 1)
        .map(|fire| {
            fire.to_zoned(tz.clone())
                .strftime("%Y-%m-%d %H:%M %Z")
                .to_string()
        })
        .collect();
    assert_eq!(got[..expected.len().min(got.len())], expected, "{title}");
    assert_eq!(
        got.len() > expected.len(),
        is_endless,
        "{title}: whether it goes on"
    );
}

#[test]
fn each_example_of_the_rfc_fires_as_printed() {
    let cases: Vec<&str> = CASES.split("\n== ").skip(1).collect();
    assert_eq!(cases.len(), 43);
    for case in cases {
        check(case);
    }
}

#[test]
fn the_next_occurrence_is_found_from_anywhere() {
    // What is found by going on from each occurrence is what is found from any instant between two of them.
    let spec = "DTSTART;TZID=America/New_York:19970610T090000\nRRULE:FREQ=YEARLY;INTERVAL=3;BYMONTH=3,11;BYDAY=SU;BYSETPOS=2,-1";
    let timing = read(&definition(spec));
    let all: Vec<Timestamp> = timing
        .after(instant("1990-01-01T00:00:00Z"))
        .take(40)
        .collect();
    for pair in all.windows(2) {
        let middle = pair[0] + pair[0].duration_until(pair[1]) / 2;
        assert_eq!(timing.next_after(middle), Some(pair[1]));
        assert_eq!(timing.next_after(pair[0]), Some(pair[1]));
    }
}

#[test]
fn a_rule_of_the_last_century_still_has_a_next_occurrence_in_the_next() {
    let timing = read(&definition(
        "DTSTART;TZID=Europe/Berlin:19000101T080000\nRRULE:FREQ=SECONDLY;INTERVAL=7;BYHOUR=8",
    ));
    let next = timing
        .next_after(instant("2150-06-01T12:00:00Z"))
        .expect("it has no end");
    let shown = next.to_zoned(TimeZone::fixed(timing.zone().tz().to_offset(next)));
    assert_eq!(shown.date(), date(2150, 6, 2));
    assert_eq!(shown.hour(), 8);
}

//! What is fired after nobody was there: each rule for missed fires, with a night that clocks change in between.

use std::time::Duration;

use jiff::Timestamp;
use nself_plugin_scheduler::{CatchUp, Definition, Due, Missed, Timing, due};

use crate::support::{definition, instant, read};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

fn new_york(spec: &str) -> Timing {
    read(&Definition {
        zone: Some("America/New_York"),
        ..definition(spec)
    })
}

fn rule(missed: Missed, window: Duration) -> CatchUp {
    CatchUp {
        missed,
        grace: Duration::from_secs(60),
        window,
    }
}

fn instants(texts: &[&str]) -> Vec<Timestamp> {
    texts.iter().map(|text| instant(text)).collect()
}

#[track_caller]
fn check(due: &Due, fire: &[&str], skipped: bool, next: &str) {
    assert_eq!(due.fire, instants(fire));
    assert_eq!(due.skipped, skipped);
    assert_eq!(due.next, Some(instant(next)));
}

/// A daily time in the gap of 8 March 2026; the host was away from the 6th to the 10th.
fn away(missed: Missed, window: Duration) -> Due {
    let timing = new_york("30 2 * * *");
    due(
        &timing,
        instant("2026-03-06T02:30:00-05:00"),
        instant("2026-03-10T12:00:00-04:00"),
        rule(missed, window),
    )
}

#[test]
fn a_fire_that_is_not_due_is_left_alone() {
    let timing = new_york("30 2 * * *");
    let pending = instant("2026-03-06T02:30:00-05:00");
    let due = due(
        &timing,
        pending,
        instant("2026-03-06T02:29:59.9-05:00"),
        rule(Missed::Last, DAY),
    );
    assert_eq!(
        (due.fire.len(), due.skipped, due.next),
        (0, false, Some(pending))
    );
}

#[test]
fn skip_fires_nothing_that_is_late() {
    check(
        &away(Missed::Skip, 30 * DAY),
        &[],
        true,
        "2026-03-11T02:30:00-04:00",
    );
}

#[test]
fn last_fires_once() {
    check(
        &away(Missed::Last, 30 * DAY),
        &["2026-03-10T02:30:00-04:00"],
        true,
        "2026-03-11T02:30:00-04:00",
    );
}

#[test]
fn all_fires_each_day_once_the_one_without_that_time_included() {
    let expected = [
        "2026-03-06T02:30:00-05:00",
        "2026-03-07T02:30:00-05:00",
        "2026-03-08T03:00:00-04:00",
        "2026-03-09T02:30:00-04:00",
        "2026-03-10T02:30:00-04:00",
    ];
    check(
        &away(Missed::All { cap: 100 }, 30 * DAY),
        &expected,
        false,
        "2026-03-11T02:30:00-04:00",
    );
    check(
        &away(Missed::All { cap: 5 }, 30 * DAY),
        &expected,
        false,
        "2026-03-11T02:30:00-04:00",
    );
}

#[test]
fn all_fires_the_last_ones_where_there_are_more_than_its_cap() {
    let expected = ["2026-03-09T02:30:00-04:00", "2026-03-10T02:30:00-04:00"];
    check(
        &away(Missed::All { cap: 2 }, 30 * DAY),
        &expected,
        true,
        "2026-03-11T02:30:00-04:00",
    );
}

#[test]
fn the_window_bounds_how_old_a_fire_may_be() {
    let expected = ["2026-03-09T02:30:00-04:00", "2026-03-10T02:30:00-04:00"];
    check(
        &away(Missed::All { cap: 100 }, 48 * HOUR),
        &expected,
        true,
        "2026-03-11T02:30:00-04:00",
    );
    check(
        &away(Missed::Last, HOUR),
        &[],
        true,
        "2026-03-11T02:30:00-04:00",
    );
}

#[test]
fn the_doubled_hour_is_caught_up_with_as_it_was() {
    let timing = new_york("*/30 * * * *");
    let pending = instant("2026-11-01T01:00:00-04:00");
    let due = due(
        &timing,
        pending,
        instant("2026-11-01T02:10:00-05:00"),
        rule(Missed::All { cap: 100 }, DAY),
    );
    let expected = [
        "2026-11-01T01:00:00-04:00",
        "2026-11-01T01:30:00-04:00",
        "2026-11-01T01:00:00-05:00",
        "2026-11-01T01:30:00-05:00",
        "2026-11-01T02:00:00-05:00",
    ];
    check(&due, &expected, false, "2026-11-01T02:30:00-05:00");
}

#[test]
fn fires_that_are_hardly_late_are_all_fired_whatever_the_rule() {
    let timing = read(&definition("* * * * * *"));
    let (pending, now) = (
        instant("2026-05-01T10:00:00Z"),
        instant("2026-05-01T10:00:02.5Z"),
    );
    for missed in [Missed::Skip, Missed::Last, Missed::All { cap: 1 }] {
        let due = due(&timing, pending, now, rule(missed, Duration::ZERO));
        let expected = [
            "2026-05-01T10:00:00Z",
            "2026-05-01T10:00:01Z",
            "2026-05-01T10:00:02Z",
        ];
        check(&due, &expected, false, "2026-05-01T10:00:03Z");
    }
}

#[test]
fn last_does_not_fire_a_missed_one_beside_one_that_is_on_time() {
    let timing = read(&definition("0 * * * *"));
    let due = due(
        &timing,
        instant("2026-05-01T08:00:00Z"),
        instant("2026-05-01T12:00:05Z"),
        rule(Missed::Last, DAY),
    );
    check(
        &due,
        &["2026-05-01T12:00:00Z"],
        true,
        "2026-05-01T13:00:00Z",
    );
}

#[test]
fn a_schedule_of_every_second_that_slept_for_a_year_has_its_last_fires() {
    let timing = read(&definition("@every 1s"));
    let now = instant("2027-01-01T00:00:00Z");
    let due = due(
        &timing,
        instant("2026-01-01T00:00:01Z"),
        now,
        rule(Missed::All { cap: 500 }, 365 * DAY),
    );
    assert_eq!(due.fire.last(), Some(&now));
    assert!(due.skipped);
    // 61 are not missed at all: the grace is a minute, both ends included.
    assert_eq!(due.fire.len(), 561);
}

#[test]
fn the_pending_fire_is_kept_when_the_rules_of_its_zone_have_changed_since() {
    let timing = new_york("30 2 * * *");
    let pending = instant("2026-03-08T03:30:00-04:00");
    let due = due(
        &timing,
        pending,
        instant("2026-03-08T03:30:01-04:00"),
        rule(Missed::Skip, DAY),
    );
    check(
        &due,
        &["2026-03-08T03:30:00-04:00"],
        false,
        "2026-03-09T02:30:00-04:00",
    );
}

#[test]
fn a_schedule_that_has_ended_has_no_next_fire() {
    let timing = read(&definition("@at 2026-05-01T10:00:00Z"));
    let once = instant("2026-05-01T10:00:00Z");
    let due = due(
        &timing,
        once,
        instant("2026-05-03T00:00:00Z"),
        rule(Missed::Last, 7 * DAY),
    );
    assert_eq!((due.fire, due.skipped, due.next), (vec![once], false, None));
}

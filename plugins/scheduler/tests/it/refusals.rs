//! What is said about a schedule that cannot be: the part, the place, and what to write instead.

use nself_plugin_scheduler::Definition;

use crate::support::{definition, instant, try_read};

#[track_caller]
fn check(spec: &str, field: &str, position: usize, needle: &str) {
    let error = try_read(&definition(spec)).expect_err(spec);
    assert_eq!(
        (error.field, error.position),
        (field, Some(position)),
        "{spec:?}: {error}"
    );
    assert!(error.problem.contains(needle), "{spec:?}: {error}");
}

#[test]
fn a_wrong_field_of_an_expression_is_named_with_its_place() {
    check("70 * * * *", "minute", 1, "70 is not between 0 and 59");
    check("0 24 * * *", "hour", 3, "24 is not between 0 and 23");
    check("0 0 0 * *", "day of month", 5, "0 is not between 1 and 31");
    check("0 0 * 13 *", "month", 7, "13 is not between 1 and 12");
    check("0 0 * * 8", "day of week", 9, "8 is not between 0 and 7");
    check("60 0 0 * * *", "second", 1, "60 is not between 0 and 59");
    check("0 0 * FOO *", "month", 7, "or a name such as FEB");
    check("0 1,2,99 * * *", "hour", 7, "99");
    check("  0   5-3 * * *", "hour", 7, "runs backwards");
    check("*/0 * * * *", "minute", 3, "goes nowhere");
    check("*/90 * * * *", "minute", 3, "@every");
    check("1,,2 * * * *", "minute", 3, "missing");
    check("0 0 * * MON#6", "day of week", 13, "at most five");
    check("0 0 * * L", "day of week", 9, "5L");
    check("0 0 32W * *", "day of month", 5, "32");
    check("-1 * * * *", "minute", 1, "missing");
    check("+1 * * * *", "minute", 1, "not a number");
}

#[test]
fn a_wrong_count_of_fields_says_how_many_there_are() {
    check("* * *", "cron expression", 5, "has 3 fields");
    check("0 0 0 1 1 * 2030", "cron expression", 13, "end_at");
    check("CRON_TZ=UTC 0 0 * * * *", "cron expression", 1, "time zone");
    check("@fortnightly", "cron expression", 1, "@weekly");
    check("@reboot", "cron expression", 1, "there is no");
}

#[test]
fn a_character_that_cannot_be_seen_is_named() {
    check("0 0\u{a0}* * *", "schedule", 4, "cannot be part");
}

#[test]
fn a_wrong_interval_or_instant_says_how_to_write_one() {
    check("@every soon", "@every", 8, "90s");
    check("@every 0s", "@every", 8, "from one up");
    check("@every 1mo", "@every", 8, "cron expression or an RRULE");
    check("@every 500ms", "@every", 8, "whole number");
    check("@every -5s", "@every", 8, "from one up");
    check("@every 999999h", "@every", 8, "ten years");
    check("@at tomorrow", "@at", 5, "RFC 3339");
    check("@at 2026-12-24T18:00:00", "@at", 5, "RFC 3339");
    check("@at 2026-02-30T18:00:00Z", "@at", 5, "RFC 3339");
}

#[test]
fn a_wrong_part_of_a_rule_is_named_with_its_place() {
    check("FREQ=SOMETIMES", "FREQ", 6, "YEARLY");
    check("RRULE:FREQ=DAILY;INTERVAL=0", "INTERVAL", 27, "between 1");
    check("RRULE:FREQ=DAILY;BYMONTH=1,13", "BYMONTH", 26, "13");
    check("RRULE:FREQ=MONTHLY;BYDAY=1XX", "BYDAY", 26, "weekday");
    check(
        "RRULE:FREQ=MONTHLY;BYMONTHDAY=0",
        "BYMONTHDAY",
        31,
        "1 to 31",
    );
    check("RRULE:FREQ=DAILY;COLOUR=RED", "RRULE", 18, "COLOUR");
    check("RRULE:FREQ=DAILY;FREQ=DAILY", "RRULE", 18, "twice");
    check("RRULE:BYMONTH=1", "FREQ", 1, "missing");
    check("RRULE:FREQ=DAILY;UNTIL=never", "UNTIL", 24, "20300101");
    check(
        "DTSTART:yesterday\nRRULE:FREQ=DAILY",
        "DTSTART",
        9,
        "yesterday",
    );
    check(
        "DTSTART;TZID=Mars/Olympus:20260101T000000\nRRULE:FREQ=DAILY",
        "TZID",
        1,
        "Mars/Olympus",
    );
    check(
        "DTSTART:20260101T000000Z\nEXRULE:FREQ=DAILY",
        "EXRULE",
        26,
        "EXDATE",
    );
    check(
        "DTSTART:20260101T000000Z\nRRULE:FREQ=DAILY\n ;BYMONTH=99",
        "BYMONTH",
        53,
        "99",
    );
}

#[test]
fn parts_that_the_rfc_forbids_together_are_refused() {
    check("FREQ=DAILY;COUNT=2;UNTIL=20300101", "COUNT", 18, "not both");
    check("FREQ=MONTHLY;BYWEEKNO=20", "BYWEEKNO", 23, "YEARLY");
    check("FREQ=WEEKLY;BYMONTHDAY=1", "BYMONTHDAY", 24, "WEEKLY");
    check("FREQ=MONTHLY;BYYEARDAY=1", "BYYEARDAY", 24, "MONTHLY");
    check("FREQ=WEEKLY;BYDAY=1MO", "BYDAY", 19, "number");
    check("FREQ=YEARLY;BYWEEKNO=1;BYDAY=1MO", "BYDAY", 30, "BYWEEKNO");
    check("FREQ=DAILY;BYSETPOS=1", "BYSETPOS", 21, "another BY part");
}

#[test]
fn a_schedule_with_two_zones_is_refused() {
    let refused = try_read(&Definition {
        zone: Some("Europe/Berlin"),
        ..definition("DTSTART;TZID=Europe/Paris:20260101T000000\nRRULE:FREQ=DAILY")
    });
    let error = refused.expect_err("there are two");
    assert_eq!(error.field, "TZID");
}

#[test]
fn bounds_that_leave_nothing_are_refused() {
    let daily = Definition {
        start_at: Some(instant("2026-01-02T00:00:00Z")),
        end_at: Some(instant("2026-01-01T00:00:00Z")),
        ..definition("@daily")
    };
    assert_eq!(
        try_read(&daily).expect_err("the wrong way round").field,
        "end_at"
    );
    let yearly = Definition {
        start_at: Some(instant("2026-01-02T00:00:00Z")),
        end_at: Some(instant("2026-12-01T00:00:00Z")),
        ..definition("@yearly")
    };
    assert!(
        try_read(&yearly)
            .expect_err("no January")
            .problem
            .contains("never fires")
    );
}

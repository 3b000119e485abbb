//! The one form in which a schedule is stored: it reads as the same schedule, and writes itself again.

use nself_plugin_scheduler::Definition;

use crate::support::{definition, fires, instant, read};

#[track_caller]
fn check(spec: &str, expected: &str) {
    let timing = read(&definition(spec));
    assert_eq!(timing.canonical(), expected);
    let canonical = timing.canonical();
    // Another anchor, as when the stored text is read later: what depends on the anchor has been written down.
    let again = read(&Definition::new(
        &canonical,
        instant("2026-01-01T00:00:00Z"),
    ));
    assert_eq!(again.canonical(), expected);
    let after = instant("2026-02-03T04:05:06Z");
    assert_eq!(fires(&again, after, 5), fires(&timing, after, 5), "{spec}");
}

#[test]
fn a_cron_expression_is_written_with_numbers() {
    check("  0  12 ?  jan-MAR\tmon-Fri ", "0 12 * 1-3 1-5");
    check("@Daily", "0 0 * * *");
    check("0 0 0 * * *", "0 0 * * *");
    check("*/15 0 0 * * 7", "*/15 0 0 * * 0");
    check(
        "*/1 05/10 l,l-3,lw,15w * friL,mon#2,0#L",
        "* 5/10 L,L-3,LW,15W * 5L,1#2,0L",
    );
    check("0 0 * * fri-sun", "0 0 * * 5-7");
}

#[test]
fn an_interval_and_an_instant_are_written_as_iso_does() {
    check("90s", "@every PT1M30S");
    check("@EVERY 1h 30m", "@every PT1H30M");
    check("P1DT12H", "@every PT36H");
    check("2030-12-24T18:00:00+01:00", "@at 2030-12-24T17:00:00Z");
}

#[test]
fn a_rule_is_written_with_its_beginning() {
    check(
        "rrule:freq=daily;byhour=9",
        "DTSTART:20260101T000000Z\nRRULE:FREQ=DAILY;BYHOUR=9",
    );
    check(
        "RRULE:FREQ=DAILY;\r\n COUNT=50\r\nDTSTART;TZID=europe/berlin:20260101T090000\r\nEXDATE:20260104T080000Z",
        "DTSTART;TZID=Europe/Berlin:20260101T090000\nRRULE:FREQ=DAILY;COUNT=50\nEXDATE:20260104T080000Z",
    );
}

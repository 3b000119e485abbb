//! Texts that are written to do harm. Each is answered, and soon: a search that did not end would end these tests.

use nself_plugin_scheduler::Definition;

use crate::support::{definition, instant, try_read};

/// Reading does not panic, and what can be read can be asked for its next fires.
fn check(spec: &str) {
    if let Ok(timing) = try_read(&definition(spec)) {
        let after = instant("2026-05-05T05:05:05Z");
        assert!(
            timing.after(after).take(3).all(|fire| fire > after),
            "{spec:.80}"
        );
    }
}

#[track_caller]
fn check_refused(spec: &str, needle: &str) {
    let error = try_read(&definition(spec)).expect_err(spec).to_string();
    assert!(error.contains(needle), "{spec:.80}: {error}");
}

#[test]
fn an_expression_that_never_fires_is_refused() {
    for spec in [
        "* * 30 2 *",
        "* * * 30 2 *",
        "0 0 31 4,6,9,11 *",
        "0 0 31W 2 *",
        "0 0 L-30 2 *",
        "0 0 30,31 2 ?",
    ] {
        check_refused(spec, "never fires");
    }
}

#[test]
fn a_rule_that_never_fires_is_refused_whatever_its_frequency() {
    for spec in [
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=MONTHLY;BYMONTHDAY=31;BYMONTH=4,6,9,11",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=31",
        "DTSTART:20260101T090000Z\nRRULE:FREQ=HOURLY;INTERVAL=24;BYHOUR=5",
        "DTSTART:20260101T090000Z\nRRULE:FREQ=MINUTELY;INTERVAL=2;BYMINUTE=1,3,5,7",
        "DTSTART:20260101T090000Z\nRRULE:FREQ=SECONDLY;INTERVAL=2;BYSECOND=1",
        "FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30,31",
        "FREQ=SECONDLY;BYYEARDAY=366;BYMONTH=1",
        "FREQ=YEARLY;BYWEEKNO=20;BYMONTH=1",
        "FREQ=WEEKLY;INTERVAL=100000;BYSETPOS=5;BYDAY=MO",
        "FREQ=YEARLY;BYDAY=53MO;BYMONTH=1",
        "FREQ=DAILY;BYMONTH=1;BYSETPOS=2",
    ] {
        check_refused(spec, "never fires");
    }
}

#[test]
fn counting_has_an_end() {
    check_refused(
        "FREQ=SECONDLY;INTERVAL=7;BYHOUR=23;BYMINUTE=59;BYSECOND=58;COUNT=10000",
        "too long to count",
    );
    check("DTSTART:20260101T000000Z\nRRULE:FREQ=YEARLY;COUNT=10000;BYYEARDAY=366;BYDAY=MO");
    check_refused("FREQ=DAILY;COUNT=10001", "COUNT");
    check("FREQ=SECONDLY;COUNT=10000");
    check("FREQ=DAILY;COUNT=10000");
}

#[test]
fn a_period_with_millions_of_members_is_not_listed() {
    let all = |end: u8| {
        (0..=end)
            .map(|one| one.to_string())
            .collect::<Vec<_>>()
            .join(",")
    };
    let positions = (1..=366)
        .map(|one| format!("{one},-{one}"))
        .collect::<Vec<_>>()
        .join(",");
    let spec = format!(
        "FREQ=YEARLY;BYMONTH=1,2,3,4,5,6,7,8,9,10,11,12;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYHOUR={};BYMINUTE={};BYSECOND={};BYSETPOS={positions}",
        all(23),
        all(59),
        all(59),
    );
    check(&spec);
    assert!(try_read(&definition(&spec)).is_ok());
}

#[test]
fn ten_kilobytes_of_a_rule_are_read_or_refused() {
    let long = |piece: &str| piece.repeat(10_000 / piece.len());
    check(&format!("FREQ=YEARLY;BYDAY={}MO", long("1MO,-1FR,53SU,")));
    check(&format!("FREQ=YEARLY;BYYEARDAY={}1", long("-366,366,")));
    check(&format!("FREQ=DAILY;BYSETPOS={}1;BYMONTH=1", long("366,")));
    check(&format!(
        "DTSTART:20260101T000000Z\nRRULE:FREQ=DAILY\nEXDATE:{}20260102T000000Z",
        long("20260101T000000Z,")
    ));
    check(&"RRULE:FREQ=DAILY\n".repeat(600));
    check(&format!("FREQ=DAILY;{}", long("X=1;")));
    check(&long("DTSTART:20260101T000000Z\n "));
    check(&long(" \n\t"));
    check(&format!("{} * * * *", long("0,")));
    check(&format!("{} * * * *", long("0-59/1,") + "0"));
    check(&format!("* * {}1 * *", long("L-3,15W,")));
    check_refused(&"*".repeat(20_000), "longer than");
}

#[test]
fn every_beginning_and_every_change_of_a_schedule_is_survived() {
    let odd = [
        "",
        "-",
        "/",
        ",",
        "#",
        "L",
        "W",
        "*",
        "0",
        "9999999999999999999",
        ":",
        ";",
        "=",
        "T",
        "Z",
        "\n",
        "\r\n ",
        "é",
        "\0",
        "?",
        "@",
    ];
    for spec in [
        "*/5 1-3,7 L-3,15W JAN-MAR MON#2,5L",
        "0 0 0 1 1 *",
        "@every 1h30m",
        "@at 2026-12-24T18:00:00+01:00",
        "DTSTART;TZID=America/New_York:19970902T090000\nRRULE:FREQ=MONTHLY;COUNT=3;BYDAY=TU,-1WE;BYSETPOS=-1\nEXDATE;VALUE=DATE:19970904",
    ] {
        for cut in 0..=spec.len() {
            let (head, tail) = spec.split_at(cut);
            check(head);
            check(tail);
            for one in odd {
                check(&format!("{head}{one}{tail}"));
                check(&format!("{head}{one}{}", tail.get(1..).unwrap_or_default()));
            }
        }
    }
}

#[test]
fn times_at_the_ends_of_the_calendar_are_survived() {
    for spec in [
        "@every 10s",
        "0 0 1 1 *",
        "* * * * * *",
        "FREQ=SECONDLY",
        "DTSTART:99981231T235959Z\nRRULE:FREQ=SECONDLY",
    ] {
        let Ok(timing) = try_read(&definition(spec)) else {
            continue;
        };
        for after in [
            jiff::Timestamp::MIN,
            jiff::Timestamp::MAX,
            instant("9998-12-31T23:59:58Z"),
        ] {
            let fires: Vec<_> = timing.after(after).take(3).collect();
            assert!(fires.iter().all(|fire| *fire > after), "{spec} {after}");
        }
    }
}

#[test]
fn names_of_zones_that_lead_out_of_the_database_are_refused() {
    let long = "A".repeat(100_000);
    for name in [
        "../../etc/passwd",
        "/etc/localtime",
        "Europe/../Berlin",
        "right/UTC",
        "posix/../..",
        "",
        "Europe/Berlin\0",
        "é",
        &long,
    ] {
        let refused = try_read(&Definition {
            zone: Some(name),
            ..definition("@daily")
        });
        let error = refused.expect_err(name);
        assert_eq!(error.field, "time zone");
        assert!(
            error.to_string().len() < 300,
            "an error repeats no long name"
        );
    }
}

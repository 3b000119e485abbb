//! What is counted, forgiven and told, and what is refused as no report.

use std::fs;

use super::*;
use crate::loader::crash::{END, FORM};

const SHA: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn sha(digit: char) -> Sha256 {
    SHA.replace('b', &digit.to_string())
        .parse()
        .expect("a digest")
}

fn report(sha256: Sha256) -> Report {
    let text = format!(
        "{FORM}\nplugin bad\nversion 1.0.0\nsha256 {sha256}\nhow address\noffset 1a2b\nwork GET /bad\nsignal 11\nat 1764286838\n{END}\n"
    );
    Report::parse(&text).expect("it reads").expect("it crashed")
}

fn none() -> (tempfile::TempDir, Crashes) {
    let directory = tempfile::tempdir().expect("a directory");
    let crashes = Crashes::read(directory.path());
    (directory, crashes)
}

#[test]
fn the_second_crash_in_a_row_of_the_same_content_quarantines_it() {
    let (directory, mut crashes) = none();
    assert!(!crashes.count(&report(sha('a'))));
    assert!(
        !crashes.count(&report(sha('c'))),
        "another version begins anew"
    );
    assert!(crashes.count(&report(sha('c'))));
    assert_eq!(crashes.quarantined("bad", &sha('a')), None);
    assert_eq!(crashes.quarantined("good", &sha('c')), None);
    crashes.write().expect("it can be written");
    let mut read = Crashes::read(directory.path());
    let reason = read.quarantined("bad", &sha('c')).expect("it is known");
    for part in [
        "bad 1.0.0",
        "2 times",
        "SIGSEGV at 0x1a2b in GET /bad (2025-11-27T",
        "release bad",
    ] {
        assert!(reason.contains(part), "no {part} in {reason}");
    }
    assert_eq!(read.release("good"), None);
    assert_eq!(read.release("bad").as_deref(), Some("1.0.0"));
    assert_eq!(read.quarantined("bad", &sha('c')), None);
    assert!(!read.count(&report(sha('c'))), "it begins anew");
    assert_eq!(read.release("bad"), None, "one crash is no quarantine");
}

#[test]
fn a_good_run_in_between_is_forgiveness() {
    let (_directory, mut crashes) = none();
    assert!(!crashes.ran_well("bad", &sha('a')));
    assert!(!crashes.count(&report(sha('a'))));
    assert!(
        !crashes.ran_well("bad", &sha('c')),
        "it was another version that ran"
    );
    assert_eq!(crashes.in_a_row("bad", &sha('a')), 1);
    assert!(crashes.ran_well("bad", &sha('a')));
    assert!(!crashes.count(&report(sha('a'))));
}

#[test]
fn each_event_is_told_once_and_a_long_log_loses_its_oldest() {
    let (directory, mut crashes) = none();
    crashes.count(&report(sha('a')));
    crashes.count(&report(sha('a')));
    let untold = crashes.untold();
    let actions: Vec<&str> = untold.iter().map(|(_, entry)| &*entry.action).collect();
    assert_eq!(
        actions,
        ["plugin.crashed", "plugin.crashed", "plugin.quarantined"]
    );
    assert_eq!(untold[0].1.details["offset"], "0x1a2b");
    crashes.told(untold[0].0);
    crashes.write().expect("it can be written");
    assert_eq!(Crashes::read(directory.path()).untold().len(), 2);
    let of_host = Report {
        culprit: None,
        ..report(sha('a'))
    };
    for _ in 0..LOG_MAX {
        assert!(!crashes.count(&of_host), "nobody is to blame");
    }
    let untold = crashes.untold();
    assert_eq!((untold.len(), &*untold[0].1.target), (LOG_MAX, "host"));
    assert!(crashes.quarantined("bad", &sha('a')).is_some());
}

#[test]
fn what_is_no_report_is_refused_and_nothing_is_no_crash() {
    assert_eq!(Report::parse(""), Ok(None));
    let whole = format!("{FORM}\nsignal 6\nat 1\n{END}\n");
    let crash = Report::parse(&whole)
        .expect("it reads")
        .expect("it crashed");
    assert_eq!(
        (crash.culprit.is_none(), crash.signal_name()),
        (true, "SIGABRT".to_owned())
    );
    for text in [
        "garbage",
        &whole.replace(END, ""),
        &whole.replace("signal 6\n", ""),
        &whole.replace("signal", "plugin bad\nsignal"),
        &whole.replace("at 1", "at noon"),
        &whole.replace('1', "2"),
    ] {
        assert!(Report::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_file_that_does_not_read_is_put_aside_and_forgotten() {
    let (directory, _) = none();
    let path = directory.path().join(NAME);
    for text in ["garbage = [", "schema = 2\n", "schema = 1\nmore = 1\n"] {
        fs::write(&path, text).expect("it can be written");
        assert!(Crashes::read(directory.path()).untold().is_empty());
        let aside = path.with_extension("toml.unreadable");
        assert_eq!(fs::read_to_string(aside).expect("it is there"), text);
        assert!(!path.exists());
    }
}

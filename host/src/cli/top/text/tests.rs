//! The picture, as text.

use super::super::view::{Sort, View, tests::four_seconds};
use super::*;

fn view() -> View {
    let mut view = four_seconds();
    view.sort(Sort::Requests);
    view
}

fn text(view: &View, width: usize, height: usize) -> Vec<String> {
    let lines = lines(view, Size { width, height });
    lines
        .iter()
        .map(|line| line.paint(|_, text| text.to_owned()))
        .collect()
}

#[test]
fn a_wide_terminal_shows_everything() {
    let expected = [
        "nself 1.2.3   up 1 h 1 min   development   http://127.0.0.1:3000   pid 7",
        "process   cpu 50 %   memory 64.0 MiB   threads 9   files 30 of 1024   connections 12",
        "database  running   pool 1 busy, 2 open of 10, 0 waiting   PostgreSQL 15",
        "requests  110/s   p50 7.6 ms   p99 22 ms   in flight 3   4xx 5.0/s   5xx 0.50/s   shed 0.25/s",
        "sockets   40 open   topics 5   frames held 6   slow 0/s   dropped 1.0/s",
        "queues    completed 20/s   failed 1.0/s   retried 1.0/s   discarded 0/s",
        "",
        "PLUGIN  STATE     ISOLATION  REQ/S     P50      P99  IN FLIGHT  4XX/S  5XX/S  PANICS  RESTARTS   DB    MEMORY  NOTE",
        "auth    started   host         100  7.6 ms    22 ms          3    5.0      0       0         0  2/5         -",
        "notes   degraded  process       10  7.5 ms  10.0 ms          0      0   0.50       1         2    -  10.0 MiB  5 panics",
        "host    started   -              0       -        -          0      0      0       0         0    -         -",
        "idle    stopped   -              0       -        -          0      0      0       0         0    -         -",
        "",
        "QUEUE    READY  RUNNING  RETRYING  DEAD  SCHEDULED  OLDEST  NOTE",
        "default      7        2         1     0          0    12 s",
        "mail         0        0         0     3          4     0 s  paused",
    ];
    assert_eq!(text(&view(), usize::MAX, usize::MAX), expected);
    assert_eq!(text(&view(), 120, 16), expected);
}

#[test]
fn a_narrow_terminal_shows_what_matters() {
    let expected = [
        "nself 1.2.3   up 1 h 1 min   development",
        "process   cpu 50 %   memory 64.0 MiB",
        "database  running",
        "requests  110/s   p50 7.6 ms   p99 22 ms",
        "sockets   40 open   topics 5",
        "queues    completed 20/s   failed 1.0/s",
        "",
        "PLUGIN  STATE     REQ/S      P99  5XX/S",
        "auth    started     100    22 ms      0",
        "notes   degraded     10  10.0 ms   0.50",
        "host    started       0        -      0",
        "idle    stopped       0        -      0",
        "",
        "QUEUE    READY  RUNNING  RETRYING  DEAD",
        "default      7        2         1     0",
        "mail         0        0         0     3",
    ];
    assert_eq!(text(&view(), 40, 16), expected);
}

#[test]
fn a_low_terminal_shows_the_first_of_each_and_how_many_there_are() {
    let names = |height| -> Vec<String> {
        let lines = text(&view(), 120, height);
        let first = |line: &String| line.split("  ").next().unwrap_or_default().to_owned();
        lines.iter().skip(6).map(first).collect()
    };
    let all = ["", "PLUGIN", "auth", "notes", "host", "idle"];
    assert_eq!(names(15), [&all[..], &["", "QUEUE", "(2 more)"]].concat());
    assert_eq!(names(14), all, "no queue fits");
    assert_eq!(names(10), ["", "PLUGIN", "auth", "(3 more)"]);
    assert_eq!(names(8), ["", "(4 more)"]);
}

#[test]
fn no_terminal_is_too_small() {
    let view = view();
    for height in 0..30 {
        for width in 0..130 {
            let lines = lines(&view, Size { width, height });
            assert!(lines.len() <= height, "{width}x{height}");
            let widest = lines.iter().map(|line| {
                let text = line.paint(|_, text| text.to_owned());
                text.chars().count()
            });
            assert!(
                widest.max().unwrap_or_default() <= width,
                "{width}x{height}"
            );
        }
    }
}

#[test]
fn a_host_without_jobs_has_no_place_for_them() {
    let mut view = view();
    view.jobs = None;
    let lines = text(&view, 120, 30);
    assert!(!lines.iter().any(|line| line.starts_with("queues")));
    assert!(lines.last().is_some_and(|line| line.starts_with("idle")));
}

#[test]
fn what_is_wrong_stands_out() {
    let mut view = view();
    view.database.state = "away".to_owned();
    view.database.connections.waiting = 4;
    let lines = lines(&view, Size::UNLIMITED);
    let parts = lines.iter().flat_map(|line| &line.0);
    let bad: Vec<&str> = parts
        .filter(|part| part.1 == Tone::Bad)
        .map(|part| part.0.trim())
        .collect();
    assert_eq!(
        bad,
        [
            "away",
            "pool 1 busy, 2 open of 10, 4 waiting",
            "5xx 0.50/s",
            "shed 0.25/s",
            "0.50",
            "1",
            "3"
        ]
    );
}

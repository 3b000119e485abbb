//! All zones of the IANA database and all their transitions from 2020 to 2030, against an oracle that knows nothing but how to read a
//! clock minute by minute.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};
use nself_plugin_scheduler::{Definition, Gap, Overlap, Timing, Zones};

use crate::support::{definition, instant};

/// What the wall showed at each minute around a transition.
struct Walls {
    shown: BTreeMap<DateTime, Vec<Timestamp>>,
    /// Where it jumped ahead: what it showed before and after, and when.
    jumps: Vec<(DateTime, DateTime, Timestamp)>,
    /// The first minute of the whole days, and the last.
    bounds: (Timestamp, Timestamp),
    /// Days that were shown from their first minute to their last.
    days: BTreeSet<Date>,
}

impl Walls {
    fn around(tz: &TimeZone, transition: Timestamp) -> Self {
        let hours = SignedDuration::from_hours;
        let mut minutes = Vec::new();
        let mut now = transition - hours(36);
        while now < transition + hours(36) {
            minutes.push((now, tz.to_datetime(now)));
            now += SignedDuration::from_mins(1);
        }
        let (first, last) = (minutes[0].1.date(), minutes[minutes.len() - 1].1.date());
        let is_whole = |day: Date| day != first && day != last;
        let whole: Vec<_> = minutes
            .iter()
            .filter(|(_, shown)| is_whole(shown.date()))
            .collect();
        let mut walls = Self {
            shown: BTreeMap::new(),
            jumps: Vec::new(),
            bounds: (whole[0].0, whole[whole.len() - 1].0),
            days: whole.iter().map(|(_, shown)| shown.date()).collect(),
        };
        for pair in minutes.windows(2) {
            if pair[0].1 + SignedDuration::from_mins(1) < pair[1].1 {
                walls.jumps.push((pair[0].1, pair[1].1, pair[1].0));
            }
        }
        for (at, shown) in minutes {
            walls.shown.entry(shown).or_default().push(at);
        }
        walls
    }

    /// The fires of a daily time: for each day at the first minute that shows it (with `both`, at every one); where none does, at
    /// the minute at which the clock jumped over it.
    fn fires(&self, time: Time, gap: Gap, overlap: Overlap) -> Vec<Timestamp> {
        let mut fires = BTreeSet::new();
        for day in &self.days {
            let wanted = day.to_datetime(time);
            let mut at = self.shown.get(&wanted).cloned().unwrap_or_default();
            if overlap == Overlap::First {
                at.truncate(1);
            }
            if at.is_empty() && gap == Gap::Run {
                let jump = self
                    .jumps
                    .iter()
                    .find(|(before, after, _)| *before < wanted && wanted < *after);
                fires.insert(jump.expect("a time that is never shown was jumped over").2);
            }
            fires.extend(at);
        }
        fires.into_iter().collect()
    }
}

/// Times around a transition: before, in and behind what the clock jumped over or showed twice.
fn times(tz: &TimeZone, transition: Timestamp) -> BTreeSet<Time> {
    let minute = SignedDuration::from_mins(1);
    let (before, after) = (
        tz.to_datetime(transition - minute),
        tz.to_datetime(transition),
    );
    let middle = before + before.duration_until(after) / 2;
    let middle = Time::constant(middle.hour(), middle.minute(), 0, 0);
    let mut times: BTreeSet<Time> = [-30, -1, 0, 1, 30, 60]
        .into_iter()
        .flat_map(|by| [before + minute * by, after + minute * by])
        .map(DateTime::time)
        .collect();
    times.extend([middle, Time::midnight(), Time::constant(23, 59, 0, 0)]);
    times
}

fn transitions(tz: &TimeZone) -> Vec<Timestamp> {
    let end = instant("2031-01-01T00:00:00Z");
    let all = tz
        .following(instant("2020-01-01T00:00:00Z"))
        .map(|transition| transition.timestamp());
    all.take_while(|at| *at < end).collect()
}

#[track_caller]
fn check(
    zones: &Zones,
    zone: &str,
    walls: &Walls,
    time: Time,
    gap: Gap,
    overlap: Overlap,
) -> usize {
    let spec = format!("{} {} * * *", time.minute(), time.hour());
    let definition = Definition {
        zone: Some(zone),
        gap,
        overlap_time: overlap,
        ..definition(&spec)
    };
    let timing = Timing::read(&definition, zones).expect("a daily time");
    let (first, last) = walls.bounds;
    let just_before = first - SignedDuration::from_secs(1);
    let got: Vec<Timestamp> = timing
        .after(just_before)
        .take_while(|fire| *fire <= last)
        .collect();
    let expected: Vec<Timestamp> = walls
        .fires(time, gap, overlap)
        .into_iter()
        .filter(|fire| (first..=last).contains(fire))
        .collect();
    assert_eq!(got, expected, "{zone}: {spec}, {gap:?}, {overlap:?}");
    assert!(
        got.is_sorted_by(|one, next| one < next),
        "{zone}: {spec} goes back"
    );
    got.len()
}

#[test]
fn a_daily_time_fires_once_on_each_day_in_every_zone_and_around_every_transition() {
    let zones = Zones::bundled();
    let (mut looked_at, mut fires) = (0, 0);
    let (mut zones_seen, mut nights_seen) = (BTreeSet::new(), BTreeSet::new());
    for name in zones.names() {
        let zone = zones.get(&name).expect("it is listed");
        let offset = |at: &Timestamp| zone.tz().to_offset(*at).seconds();
        let transitions = transitions(zone.tz());
        // Many names are one zone: what its clocks did tells.
        let zone_seen: Vec<_> = transitions.iter().map(|at| (*at, offset(at))).collect();
        if !zones_seen.insert(zone_seen) {
            continue;
        }
        for transition in transitions {
            looked_at += 1;
            let walls = Walls::around(zone.tz(), transition);
            let mut times = times(zone.tz(), transition);
            // Zones share nights. A night that is known is looked at too, with the time that matters most.
            let before = offset(&(transition - SignedDuration::from_secs(1)));
            if !nights_seen.insert((transition, before, offset(&transition))) {
                let first = walls.jumps.first().map(|(_, after, _)| after.time());
                times = BTreeSet::from([first.unwrap_or(zone.tz().to_datetime(transition).time())]);
            }
            for time in times {
                let count = check(&zones, &name, &walls, time, Gap::Run, Overlap::First);
                // A fire that the gap moved over the last midnight of the window is the next day's; none is lost within it.
                assert!(
                    count.abs_diff(walls.days.len()) <= 1,
                    "{name}: {time} fired {count} times"
                );
                fires += count;
                check(&zones, &name, &walls, time, Gap::Skip, Overlap::Both);
            }
        }
    }
    assert!(
        looked_at > 800 && fires > 10_000,
        "there was something to look at: {looked_at}, {fires}"
    );
}

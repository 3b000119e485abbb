//! A second opinion on cron expressions: the library `croner`, in a zone without transitions.

use croner::parser::{CronParser, Seconds};
use jiff::{Timestamp, tz::TimeZone};

use crate::support::{definition, instant, read};

/// A stream of numbers that is the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn field(&mut self, min: u64, max: u64) -> String {
        let width = max - min + 1;
        let low = min + self.below(width);
        let high = low + self.below(max - low + 1);
        match self.below(7) {
            0 | 1 => "*".to_owned(),
            2 => format!("{low}-{high}"),
            3 if high > low => format!("{low}-{high}/{}", 1 + self.below(high - low)),
            4 => format!("{low},{high}"),
            _ => low.to_string(),
        }
    }

    fn month_day(&mut self) -> String {
        match self.below(6) {
            0 => "L".to_owned(),
            1 => format!("{}W", 1 + self.below(28)),
            2 => "LW".to_owned(),
            _ => self.field(1, 28),
        }
    }

    fn week_day(&mut self) -> String {
        match self.below(6) {
            0 => format!("{}#{}", self.below(7), 1 + self.below(4)),
            1 => format!("{}L", self.below(7)),
            2 => ["MON-FRI", "sun", "SAT,SUN", "TUE"]
                [usize::try_from(self.below(4)).expect("small")]
            .to_owned(),
            _ => self.field(0, 6),
        }
    }

    fn expression(&mut self) -> String {
        let mut fields = vec![
            self.field(0, 59),
            self.field(0, 23),
            self.month_day(),
            self.field(1, 12),
            self.week_day(),
        ];
        if self.below(3) == 0 {
            fields.insert(0, self.field(0, 59));
        }
        fields.join(" ")
    }
}

#[test]
fn both_name_the_same_times_for_thousands_of_expressions() {
    let parser = CronParser::builder().seconds(Seconds::Optional).build();
    let mut numbers = Numbers(20_260_101);
    let mut fires = 0;
    for _ in 0..4_000 {
        let spec = numbers.expression();
        let ours = read(&definition(&spec));
        let theirs = parser
            .parse(&spec)
            .unwrap_or_else(|error| panic!("{spec}: {error}"));
        let mut at = instant("2026-01-01T00:00:00Z")
            + jiff::SignedDuration::from_secs(
                i64::try_from(numbers.below(400_000_000)).expect("small"),
            );
        for _ in 0..5 {
            let expected: Timestamp = theirs
                .find_next_occurrence(&at.to_zoned(TimeZone::UTC), false)
                .unwrap_or_else(|error| panic!("{spec}: {error}"))
                .timestamp();
            assert_eq!(ours.next_after(at), Some(expected), "{spec} after {at}");
            at = expected;
            fires += 1;
        }
    }
    assert_eq!(fires, 20_000);
}

//! The times of a day that a schedule allows: some hours, some minutes of each, some seconds of each.

use jiff::civil::Time;

/// Bits of hours, minutes and seconds. Every combination of them is a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    pub(crate) hours: u64,
    pub(crate) minutes: u64,
    pub(crate) seconds: u64,
}

impl Clock {
    /// Bits for everything below `count`.
    pub(crate) const fn all(count: u32) -> u64 {
        (1 << count) - 1
    }

    /// How many times there are.
    pub(crate) fn count(self) -> usize {
        [self.hours, self.minutes, self.seconds]
            .into_iter()
            .map(|bits| bits.count_ones() as usize)
            .product()
    }

    /// The time with this number, counted from 0.
    pub(crate) fn get(self, index: usize) -> Option<Time> {
        let (minutes, seconds) = (
            self.minutes.count_ones() as usize,
            self.seconds.count_ones() as usize,
        );
        let second = nth(self.seconds, index.checked_rem(seconds)?)?;
        let minute = nth(self.minutes, (index / seconds).checked_rem(minutes)?)?;
        let hour = nth(self.hours, index / seconds / minutes)?;
        Time::new(hour, minute, second, 0).ok()
    }

    /// The first time of the day.
    pub(crate) fn first(self) -> Option<Time> {
        self.at_or_after(Time::midnight())
    }

    /// The first time of the day that is not before `from`.
    pub(crate) fn at_or_after(self, from: Time) -> Option<Time> {
        let (first_minute, first_second) = (lowest(self.minutes, 0)?, lowest(self.seconds, 0)?);
        let hour = lowest(self.hours, from.hour())?;
        if hour > from.hour() {
            return Time::new(hour, first_minute, first_second, 0).ok();
        }
        // A fraction of a second lies behind its second.
        let second = from.second() + i8::from(from.subsec_nanosecond() > 0);
        let minute = lowest(self.minutes, from.minute());
        if minute == Some(from.minute())
            && let Some(second) = lowest(self.seconds, second)
        {
            return Time::new(hour, from.minute(), second, 0).ok();
        }
        if let Some(minute) = lowest(self.minutes, from.minute() + 1) {
            return Time::new(hour, minute, first_second, 0).ok();
        }
        let hour = lowest(self.hours, hour + 1)?;
        Time::new(hour, first_minute, first_second, 0).ok()
    }
}

/// The lowest bit that is not below `from`.
pub(crate) fn lowest(bits: u64, from: i8) -> Option<i8> {
    let rest = bits.checked_shr(u32::try_from(from).ok()?)? << from;
    (rest != 0).then(|| i8::try_from(rest.trailing_zeros()).expect("a u64 has 64 bits"))
}

/// The set bit with this number, counted from 0.
fn nth(bits: u64, index: usize) -> Option<i8> {
    let mut rest = bits;
    for _ in 0..index {
        rest &= rest.checked_sub(1)?;
    }
    lowest(rest, 0)
}

#[cfg(test)]
mod tests {
    use jiff::civil::time;

    use super::*;

    const CLOCK: Clock = Clock {
        hours: 1 << 9 | 1 << 17,
        minutes: 1 | 1 << 30,
        seconds: 1 << 5,
    };

    #[test]
    fn times_are_numbered_in_their_order() {
        let times: Vec<Time> = (0..CLOCK.count())
            .filter_map(|index| CLOCK.get(index))
            .collect();
        let expected = [
            time(9, 0, 5, 0),
            time(9, 30, 5, 0),
            time(17, 0, 5, 0),
            time(17, 30, 5, 0),
        ];
        assert_eq!(times, expected);
        assert_eq!(CLOCK.get(CLOCK.count()), None);
    }

    #[test]
    fn the_next_time_is_the_first_that_is_not_before() {
        let all: Vec<Time> = (0..CLOCK.count())
            .filter_map(|index| CLOCK.get(index))
            .collect();
        for second in 0..86_400 {
            let from = time(
                i8::try_from(second / 3600).expect("an hour"),
                i8::try_from(second / 60 % 60).expect("a minute"),
                i8::try_from(second % 60).expect("a second"),
                0,
            );
            let expected = all.iter().copied().find(|one| *one >= from);
            assert_eq!(CLOCK.at_or_after(from), expected, "{from}");
        }
    }
}

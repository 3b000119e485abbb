//! The two day fields: which days of a month they mean, as bits 1 to 31.

use jiff::civil::Date;

use super::field::{Part, fields};
use crate::error::SpecError;

/// The field for days of the month.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MonthDays {
    days: u64,
    /// Counted from the last day, which is bit 0.
    from_end: u64,
    /// Days whose nearest weekday is meant.
    nearest: u64,
    last_weekday: bool,
}

/// The field for days of the week, Sunday is 0.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct WeekDays {
    days: u64,
    last: u64,
    /// For each weekday, bits of its first to fifth in the month.
    nth: [u8; 7],
}

impl MonthDays {
    /// Reads the field, and its text in the one form.
    pub(super) fn read(part: Part<'_>) -> Result<(Self, String), SpecError> {
        let mut field = Self::default();
        let mut texts = Vec::new();
        for item in part.items() {
            texts.push(field.add(item)?);
        }
        Ok((field, texts.join(",")))
    }

    fn add(&mut self, item: Part<'_>) -> Result<String, SpecError> {
        let kind = &fields::MONTH_DAY;
        let upper = item.text.to_ascii_uppercase();
        match upper.as_str() {
            "L" => self.from_end |= 1,
            "LW" | "WL" => {
                self.last_weekday = true;
                return Ok("LW".to_owned());
            }
            _ if upper.starts_with("L-") => {
                let (_, back) = item.split('-').expect("there is a hyphen");
                let back = kind.value(back)?;
                if back > 30 {
                    return kind.fail(item, "no month has a day that far from its end");
                }
                self.from_end |= 1 << back;
                return Ok(format!("L-{back}"));
            }
            _ if upper.ends_with('W') => {
                let day = kind.value(item.without('W').expect("it ends so"))?;
                self.nearest |= 1 << day;
                return Ok(format!("{day}W"));
            }
            _ => {
                let read = kind.item(item)?;
                self.days |= read.bits;
                return Ok(read.text);
            }
        }
        Ok(upper)
    }

    /// The days of the month that begins on `first`.
    pub(super) fn of(self, first: Date) -> u64 {
        let last = first.days_in_month();
        let mut days = self.days & bits_to(last);
        for back in ones(self.from_end).take_while(|back| *back < last) {
            days |= 1 << (last - back);
        }
        for day in ones(self.nearest).take_while(|day| *day <= last) {
            days |= 1 << nearest(first, day, last);
        }
        if self.last_weekday {
            days |= 1 << nearest(first, last, last);
        }
        days
    }
}

impl WeekDays {
    /// Reads the field, and its text in the one form.
    pub(super) fn read(part: Part<'_>) -> Result<(Self, String), SpecError> {
        let mut field = Self::default();
        let mut texts = Vec::new();
        for item in part.items() {
            texts.push(field.add(item)?);
        }
        Ok((field, texts.join(",")))
    }

    fn add(&mut self, item: Part<'_>) -> Result<String, SpecError> {
        let kind = &fields::WEEK_DAY;
        if item.text.eq_ignore_ascii_case("L") {
            return kind.fail(item, "the last what? Write \"5L\" for the last Friday");
        }
        if let Some((day, nth)) = item.split('#') {
            let day = kind.value(day)? % 7;
            return match nth.text {
                "L" | "l" => {
                    self.last |= 1 << day;
                    Ok(format!("{day}L"))
                }
                "1" | "2" | "3" | "4" | "5" => {
                    let number = nth.text.as_bytes()[0] - b'0';
                    self.nth[usize::from(day)] |= 1 << number;
                    Ok(format!("{day}#{number}"))
                }
                _ => kind.fail(
                    nth,
                    format!(
                        "{:?} is not 1 to 5 or L: a month has at most five of a weekday",
                        nth.text
                    ),
                ),
            };
        }
        if let Some(day) = item.without('L') {
            let day = kind.value(day)? % 7;
            self.last |= 1 << day;
            return Ok(format!("{day}L"));
        }
        let read = kind.item(item)?;
        self.days |= read.bits;
        Ok(read.text)
    }

    /// The days of the month that begins on `first`.
    pub(super) fn of(self, first: Date) -> u64 {
        let last = first.days_in_month();
        if self.days == 0b111_1111 {
            return bits_to(last);
        }
        let offset = first.weekday().to_sunday_zero_offset();
        let mut days = 0;
        for week_day in 0..7 {
            let first = 1 + (week_day - offset).rem_euclid(7);
            // Its up to five days in the month.
            let all = (1 | 1 << 7 | 1 << 14 | 1 << 21 | 1 << 28) << first & bits_to(last);
            if self.days >> week_day & 1 == 1 {
                days |= all;
            }
            if self.last >> week_day & 1 == 1 {
                days |= 1 << all.ilog2();
            }
            let nth = self.nth[usize::try_from(week_day).expect("not negative")];
            for number in ones(u64::from(nth)) {
                days |= all & 1 << (first + 7 * (number - 1));
            }
        }
        days
    }
}

/// The weekday nearest to a day without leaving its month.
fn nearest(first: Date, day: i8, last: i8) -> i8 {
    let week_day = (first.weekday().to_monday_zero_offset() + day - 1) % 7;
    match week_day {
        5 if day == 1 => 3,
        5 => day - 1,
        6 if day == last => day - 2,
        6 => day + 1,
        _ => day,
    }
}

/// Bits 1 to `last`.
fn bits_to(last: i8) -> u64 {
    (1 << (last + 1)) - 2
}

/// The numbers of the bits that are set.
fn ones(bits: u64) -> impl Iterator<Item = i8> {
    (0..64).filter(move |bit| bits >> bit & 1 == 1)
}

//! One field of a cron expression: a list of numbers, names, ranges and steps, as bits.

use crate::error::SpecError;

/// A piece of the text, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) text: &'a str,
    pub(super) position: usize,
}

/// What a field may hold.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) min: u8,
    pub(super) max: u8,
    /// Names of the values from `min` on.
    pub(super) names: &'static [&'static str],
}

/// The fields there are.
pub(super) mod fields {
    use super::Kind;

    const fn plain(name: &'static str, min: u8, max: u8) -> Kind {
        Kind {
            name,
            min,
            max,
            names: &[],
        }
    }

    pub(in super::super) const SECOND: Kind = plain("second", 0, 59);
    pub(in super::super) const MINUTE: Kind = plain("minute", 0, 59);
    pub(in super::super) const HOUR: Kind = plain("hour", 0, 23);
    pub(in super::super) const MONTH_DAY: Kind = plain("day of month", 1, 31);
    pub(in super::super) const MONTH: Kind = Kind {
        names: &[
            "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
        ],
        ..plain("month", 1, 12)
    };
    pub(in super::super) const WEEK_DAY: Kind = Kind {
        names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
        ..plain("day of week", 0, 7)
    };
}

/// A field that has been read: its values as bits, and its text in the one form.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) bits: u64,
    pub(super) text: String,
}

impl Field {
    /// Reads a field that holds nothing but values.
    pub(super) fn read(kind: &Kind, part: Part<'_>) -> Result<Self, SpecError> {
        let mut bits = 0;
        let mut texts = Vec::new();
        for item in part.items() {
            let read = kind.item(item)?;
            bits |= read.bits;
            texts.push(read.text);
        }
        Ok(Self {
            bits,
            text: texts.join(","),
        })
    }
}

impl<'a> Part<'a> {
    /// The members of a list.
    pub(super) fn items(self) -> impl Iterator<Item = Self> {
        let mut position = self.position;
        self.text.split(',').map(move |text| {
            let part = Part { text, position };
            position += text.len() + 1;
            part
        })
    }

    /// What stands before and behind the first of these characters.
    pub(super) fn split(self, at: char) -> Option<(Self, Self)> {
        let (before, behind) = self.text.split_once(at)?;
        let behind = Part {
            text: behind,
            position: self.position + before.len() + 1,
        };
        Some((
            Part {
                text: before,
                ..self
            },
            behind,
        ))
    }

    /// What is left without an ending, in any case.
    pub(super) fn without(self, ending: char) -> Option<Part<'a>> {
        let last = self.text.chars().next_back()?;
        last.eq_ignore_ascii_case(&ending).then(|| Part {
            text: &self.text[..self.text.len() - 1],
            ..self
        })
    }
}

impl Kind {
    /// An error in this field.
    pub(super) fn fail<T>(
        &self,
        part: Part<'_>,
        problem: impl Into<String>,
    ) -> Result<T, SpecError> {
        Err(SpecError::at(self.name, part.position, problem))
    }

    /// A value, a range or everything, perhaps in steps.
    pub(super) fn item(&self, part: Part<'_>) -> Result<Field, SpecError> {
        let (range, step) = match part.split('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let is_open = matches!(range.text, "*" | "?");
        let (low, high) = if is_open {
            (self.min, self.open_end())
        } else {
            self.range(range, step.is_some())?
        };
        let text = match (is_open, range.split('-')) {
            (true, _) => "*".to_owned(),
            (false, Some(_)) => format!("{low}-{high}"),
            (false, None) => self.folded(low).to_string(),
        };
        let (step, text) = match step {
            Some(step) => {
                let step = self.step(step, high - low)?;
                let text = if step == 1 && is_open {
                    text
                } else {
                    format!("{text}/{step}")
                };
                (step, text)
            }
            None => (1, text),
        };
        let values = (low..=high).step_by(usize::from(step));
        let bits = values.fold(0, |bits, value| bits | 1 << self.folded(value));
        Ok(Field { bits, text })
    }

    /// The ends of `a`, `a-b`, or of `a/n`, which means from `a` to the end.
    fn range(&self, part: Part<'_>, has_step: bool) -> Result<(u8, u8), SpecError> {
        let Some((low, high)) = part.split('-') else {
            let value = self.value(part)?;
            let low = if has_step { self.folded(value) } else { value };
            return Ok((low, if has_step { self.open_end() } else { low }));
        };
        let (from, mut to) = (self.value(low)?, self.value(high)?);
        // "fri-sun": the week that begins with Sunday also ends with it.
        if self.max == 7 && to == 0 && from > 0 {
            to = 7;
        }
        if from > to {
            return self.fail(
                part,
                format!(
                    "{:?} runs backwards: write it as a list of two ranges",
                    part.text
                ),
            );
        }
        Ok((from, to))
    }

    /// A number or a name.
    pub(super) fn value(&self, part: Part<'_>) -> Result<u8, SpecError> {
        let named = self
            .names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(part.text));
        if let Some(index) = named {
            return Ok(self.min + u8::try_from(index).expect("a handful of names"));
        }
        if part.text.is_empty() {
            return self.fail(part, "a value is missing");
        }
        let is_number = part.text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number {
            let or_name = if self.names.is_empty() {
                ""
            } else {
                " or a name such as "
            };
            let example = self.names.get(1).copied().unwrap_or_default();
            return self.fail(
                part,
                format!("{:?} is not a number{or_name}{example}", part.text),
            );
        }
        match part.text.parse() {
            Ok(value) if (self.min..=self.max).contains(&value) => Ok(value),
            _ => self.fail(
                part,
                format!("{} is not between {} and {}", part.text, self.min, self.max),
            ),
        }
    }

    fn step(&self, part: Part<'_>, width: u8) -> Result<u8, SpecError> {
        let is_number =
            !part.text.is_empty() && part.text.bytes().all(|byte| byte.is_ascii_digit());
        match part.text.parse::<u8>() {
            Ok(0) => self.fail(part, "a step of 0 goes nowhere"),
            Ok(step) if is_number && step <= width.max(1) => Ok(step),
            _ if is_number => self.fail(
                part,
                format!("a step of {} is wider than what it steps through; @every knows longer intervals", part.text),
            ),
            _ => self.fail(part, format!("{:?} is not a step", part.text)),
        }
    }

    /// The last value of "everything": Sunday is not in it twice.
    fn open_end(&self) -> u8 {
        if self.max == 7 { 6 } else { self.max }
    }

    /// The value that a bit stands for: Sunday is 0, also as 7.
    fn folded(&self, value: u8) -> u8 {
        if self.max == 7 { value % 7 } else { value }
    }
}

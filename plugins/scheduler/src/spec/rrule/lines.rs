//! Content lines of RFC 5545, section 3.1: a name, parameters and a value, folded at will.

use jiff::civil::DateTime;

use super::value::{self, Moment};
use crate::{
    error::SpecError,
    zone::{Zone, Zones},
};

/// A line, unfolded.
#[derive(Debug)]
pub(super) struct Line {
    /// In capitals.
    pub(super) name: String,
    /// Names in capitals.
    params: Vec<(String, String)>,
    pub(super) value: String,
    /// Where the line begins in the text.
    pub(super) position: usize,
    /// Where each character of the value stands in the text.
    places: Vec<usize>,
}

impl Line {
    /// All lines of a text. A text that is nothing but the value of an RRULE is the line of one.
    pub(super) fn all(text: &str) -> Result<Vec<Self>, SpecError> {
        unfolded(text)
            .iter()
            .map(|chars| Self::read(chars))
            .collect()
    }

    /// The position of a place in the value.
    pub(super) fn place(&self, index: usize) -> usize {
        self.places
            .get(index)
            .or(self.places.last())
            .copied()
            .unwrap_or(self.position)
    }

    fn read(chars: &[(usize, char)]) -> Result<Self, SpecError> {
        let text: String = chars.iter().map(|(_, one)| *one).collect();
        let places: Vec<usize> = chars.iter().map(|(place, _)| *place).collect();
        let position = places[0];
        let upper = text.to_ascii_uppercase();
        let is_bare = upper
            .split_once('=')
            .is_some_and(|(name, _)| !name.contains([':', ';']));
        if is_bare {
            return Ok(Self {
                name: "RRULE".to_owned(),
                params: Vec::new(),
                value: text,
                position,
                places,
            });
        }
        let Some((head, value)) = text.split_once(':') else {
            return Err(SpecError::at(
                "RRULE",
                position,
                format!("{text:?} has no value behind a colon"),
            ));
        };
        let places = places[head.len() + 1..].to_vec();
        let mut head = head.split(';');
        let name = head.next().unwrap_or_default().to_ascii_uppercase();
        let mut params = Vec::new();
        for param in head {
            let Some((key, value)) = param.split_once('=') else {
                return Err(SpecError::at(
                    "RRULE",
                    position,
                    format!("{param:?} is not a parameter"),
                ));
            };
            params.push((key.to_ascii_uppercase(), value.trim_matches('"').to_owned()));
        }
        Ok(Self {
            name,
            params,
            value: value.trim_end().to_owned(),
            position,
            places,
        })
    }

    fn param(&self, name: &str) -> Option<&str> {
        let found = self.params.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The zone that the line names.
    pub(super) fn zone(&self, zones: &Zones) -> Result<Option<Zone>, SpecError> {
        // A slash before a name only says that it is a global one.
        let name = self.param("TZID").map(|name| name.trim_start_matches('/'));
        name.map(|name| zones.get(name))
            .transpose()
            .map_err(|error| SpecError::at("TZID", self.position, error.problem))
    }

    /// The times that are listed.
    pub(super) fn moments(&self, field: &'static str) -> Result<Vec<Moment>, SpecError> {
        let mut index = 0;
        let mut found = Vec::new();
        for text in self.value.split(',') {
            let text_of_start = match self.param("VALUE") {
                Some(kind) if kind.eq_ignore_ascii_case("PERIOD") => {
                    text.split('/').next().unwrap_or(text)
                }
                _ => text,
            };
            let moment = Moment::read(text_of_start.trim())
                .ok_or_else(|| value::no_time(field, self.place(index), text))?;
            found.push(moment);
            index += text.len() + 1;
        }
        Ok(found)
    }

    /// A time of this line, on the walls of `zone`.
    pub(super) fn local(
        &self,
        moment: Moment,
        zone: &Zone,
        zones: &Zones,
    ) -> Result<DateTime, SpecError> {
        match (moment, self.zone(zones)?) {
            (Moment::Local(time), Some(own)) if own.name() != zone.name() => {
                let instant = own.tz().to_timestamp(time);
                let instant =
                    instant.map_err(|_| value::no_time("TZID", self.position, &self.value))?;
                Ok(zone.tz().to_datetime(instant))
            }
            _ => Ok(moment.local(zone)),
        }
    }

    /// The line in one form.
    pub(super) fn canonical(&self) -> String {
        let mut text = self.name.clone();
        for (key, value) in &self.params {
            text.extend([";", key, "=", value]);
        }
        text + ":" + &self.value.to_ascii_uppercase()
    }
}

/// The lines of a text with the place of each character. A line that begins with a blank goes on with the one before.
fn unfolded(text: &str) -> Vec<Vec<(usize, char)>> {
    let mut lines: Vec<Vec<(usize, char)>> = Vec::new();
    let mut position = 1;
    for raw in text.split('\n') {
        let line = raw.strip_suffix('\r').unwrap_or(raw);
        let chars = line
            .chars()
            .enumerate()
            .map(|(index, one)| (position + index, one));
        match lines.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => last.extend(chars.skip(1)),
            _ if line.trim().is_empty() => {}
            _ => lines.push(
                chars
                    .skip_while(|(_, one)| one.is_ascii_whitespace())
                    .collect(),
            ),
        }
        position += raw.len() + 1;
    }
    for line in &mut lines {
        while line
            .last()
            .is_some_and(|(_, one)| one.is_ascii_whitespace())
        {
            line.pop();
        }
    }
    lines
}

//! The text behind a value: reading it, and finding the line of a path.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser};
use serde_json::Value;

use super::{definition::Format, fault::Fault};

/// Reads a text into a value. A name that stands twice in one map is refused: one of the two would be lost.
pub(super) fn read(text: &str, format: Format) -> Result<Value, Fault> {
    let value = value(text, format)?;
    let mut twice = None;
    places(text, &mut twice);
    match twice {
        None => Ok(value),
        Some((path, (line, column))) => Err(Fault {
            line,
            column,
            ..Fault::new(
                path,
                "this name stands here twice",
                "leave only one of them",
            )
        }),
    }
}

fn value(text: &str, format: Format) -> Result<Value, Fault> {
    const REMEDY: &str = "mend the text; nothing of it can be judged before it can be read";
    match format {
        Format::Json => serde_json::from_str(text).map_err(|error| Fault {
            line: error.line(),
            column: error.column(),
            ..Fault::new("", error.to_string(), REMEDY)
        }),
        Format::Yaml => serde_norway::from_str(text).map_err(|error| {
            let place = error.location();
            Fault {
                line: place.as_ref().map_or(0, serde_norway::Location::line),
                column: place.as_ref().map_or(0, serde_norway::Location::column),
                ..Fault::new("", error.to_string(), REMEDY)
            }
        }),
    }
}

/// Writes line and column into faults. JSON is YAML as far as this is concerned.
pub(super) fn locate(text: &str, faults: &mut [Fault]) {
    let places = places(text, &mut None);
    for fault in faults {
        let mut path = fault.path.as_str();
        loop {
            if let Some((line, column)) = places.get(path) {
                (fault.line, fault.column) = (*line, *column);
                break;
            }
            let Some((parent, _)) = path.rsplit_once('/') else {
                break;
            };
            path = parent;
        }
    }
}

/// Line and column.
type Place = (usize, usize);

/// What the reader is in: a list with the number of its next item, or a map with the key that waits for its value.
enum Inside {
    List(usize),
    Map(Option<String>),
}

/// Line and column of every path; those of a map's value are its key's.
fn places(text: &str, twice: &mut Option<(String, Place)>) -> HashMap<String, Place> {
    let mut places = HashMap::new();
    let mut inside: Vec<(String, Inside)> = Vec::new();
    for event in Parser::new_from_str(text) {
        let Ok((event, span)) = event else { break };
        let place = (span.start.line(), span.start.col() + 1);
        match event {
            Event::SequenceEnd | Event::MappingEnd => {
                inside.pop();
            }
            Event::SequenceStart(..) => {
                let path = next_path(&mut inside, None, place, &mut places, twice);
                inside.push((path, Inside::List(0)));
            }
            Event::MappingStart(..) => {
                let path = next_path(&mut inside, None, place, &mut places, twice);
                inside.push((path, Inside::Map(None)));
            }
            Event::Scalar(scalar, ..) => {
                next_path(&mut inside, Some(&scalar), place, &mut places, twice);
            }
            Event::Alias(_) => {
                next_path(&mut inside, None, place, &mut places, twice);
            }
            _ => {}
        }
    }
    places
}

/// The path of what begins here; a scalar where a map waits for a key becomes that key.
fn next_path(
    inside: &mut [(String, Inside)],
    scalar: Option<&str>,
    place: Place,
    places: &mut HashMap<String, Place>,
    twice: &mut Option<(String, Place)>,
) -> String {
    let path = match inside.last_mut() {
        None => String::new(),
        Some((parent, Inside::List(next))) => {
            *next += 1;
            format!("{parent}/{}", *next - 1)
        }
        Some((parent, Inside::Map(key))) => {
            if let Some(key) = key.take() {
                return format!("{parent}/{}", escape(&key));
            }
            let name = scalar.unwrap_or_default();
            *key = Some(name.to_owned());
            let path = format!("{parent}/{}", escape(name));
            if places.contains_key(&path) {
                twice.get_or_insert((path.clone(), place));
            }
            path
        }
    };
    places.entry(path.clone()).or_insert(place);
    path
}

/// A name as a part of a JSON pointer.
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

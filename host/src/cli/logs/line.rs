//! A line of the log, for people.

use serde_json::{Map, Value};
use tracing::Level;

use crate::cli::{Output, output::clean};

/// What stands at the beginning of a line, or says where in the program it comes from.
const APART: [&str; 7] = [
    "timestamp",
    "level",
    "message",
    "plugin",
    "target",
    "span",
    "spans",
];
/// Where the fields of a plugin's own line are: an object as text.
const FIELDS: &str = "fields";
/// Digits of a second's fraction that are of use to people.
const MILLISECONDS: usize = "2026-11-27T14:52:21.152".len();

/// One line.
pub(super) enum Line<'a> {
    /// As the host writes it: the text, and what it says.
    Event(&'a str, Map<String, Value>),
    /// Anything else.
    Other(&'a str),
}

impl<'a> Line<'a> {
    /// A line that the host has written; none when it is another.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let object: Map<String, Value> = serde_json::from_str(text).ok()?;
        let is_event = ["level", "timestamp"]
            .iter()
            .all(|key| object.get(*key).is_some_and(Value::is_string));
        is_event.then_some(Self::Event(text, object))
    }

    pub(super) fn other(text: &'a str) -> Self {
        Self::Other(text)
    }

    fn word(&self, key: &str) -> Option<&str> {
        match self {
            Self::Event(_, object) => object.get(key)?.as_str(),
            Self::Other(_) => None,
        }
    }

    /// The plugin that it is of, or that the host does it for.
    pub(super) fn plugin(&self) -> Option<&str> {
        let Self::Event(_, object) = self else {
            return None;
        };
        let of_span = || object.get("span")?.get("plugin")?.as_str();
        self.word("plugin").or_else(of_span)
    }

    /// How grave it is; what cannot be told is an error.
    pub(super) fn level(&self) -> Level {
        let level = self.word("level").and_then(|level| level.parse().ok());
        level.unwrap_or(Level::ERROR)
    }

    /// For people, or with `--json` one object.
    pub(super) fn show(&self, output: &Output) -> String {
        match self {
            Self::Event(text, _) if output.is_json() => (*text).to_owned(),
            Self::Other(text) if output.is_json() => {
                serde_json::json!({"message": text}).to_string()
            }
            Self::Other(text) => clean(text),
            Self::Event(_, object) => self.text(output, object),
        }
    }

    fn text(&self, output: &Output, object: &Map<String, Value>) -> String {
        let time = self.word("timestamp").unwrap_or_default();
        let time = time.get(..MILLISECONDS).unwrap_or(time);
        let level = self.level();
        let colour = match level {
            Level::ERROR => "\x1b[31m",
            Level::WARN => "\x1b[33m",
            _ => "",
        };
        let level = output.paint(colour, &format!("{:<5}", level.as_str()));
        let plugin = self.plugin().unwrap_or("nself");
        let message = self.word("message").unwrap_or_default();
        let mut fields = String::new();
        for (key, value) in object {
            if key == FIELDS {
                let inner: Map<String, Value> = value
                    .as_str()
                    .and_then(|text| serde_json::from_str(text).ok())
                    .unwrap_or_default();
                inner
                    .iter()
                    .for_each(|(key, value)| field(&mut fields, key, value));
            } else if !APART.contains(&&**key) {
                field(&mut fields, key, value);
            }
        }
        format!(
            "{}Z {level} {} {}{}",
            clean(time),
            clean(plugin),
            clean(message).replace('\n', "\\n"),
            clean(&fields)
        )
    }
}

/// ` key=value`, in quotes where it has to be.
fn field(fields: &mut String, key: &str, value: &Value) {
    let is_plain = |text: &&str| {
        let is_apart =
            |letter: char| letter.is_whitespace() || letter.is_control() || "\"=".contains(letter);
        !text.is_empty() && !text.contains(is_apart)
    };
    fields.push(' ');
    fields.push_str(key);
    fields.push('=');
    match value.as_str().filter(is_plain) {
        Some(text) => fields.push_str(text),
        None => fields.push_str(&value.to_string()),
    }
}

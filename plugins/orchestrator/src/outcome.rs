//! Outcomes as they are kept while their instance cannot take them in.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use nself_plugin_api::serde_json::{self, Value, json};
use serde::{Deserialize, Serialize};

use crate::engine::{Error, Outcome, Response};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kept {
    Completed(Value),
    Done,
    Response {
        method: String,
        uri: String,
        request_headers: BTreeMap<String, String>,
        status: u16,
        headers: BTreeMap<String, String>,
        body: String,
    },
    Fired,
    Event(Value),
    Failed(Error),
}

/// An outcome in words.
pub(crate) fn keep(outcome: Outcome) -> Value {
    let kept = match outcome {
        Outcome::Completed(value) => Kept::Completed(value),
        Outcome::Done => Kept::Done,
        Outcome::Response(response) => Kept::Response {
            method: response.method,
            uri: response.uri,
            request_headers: response.request_headers,
            status: response.status,
            headers: response.headers,
            body: STANDARD.encode(response.body),
        },
        Outcome::Fired => Kept::Fired,
        Outcome::Event(event) => Kept::Event(event),
        Outcome::Failed(error) => Kept::Failed(error),
    };
    storable(json!(kept))
}

/// The outcome of such words.
pub(crate) fn read(kept: Value) -> Outcome {
    match serde_json::from_value(kept) {
        Ok(Kept::Completed(value)) => Outcome::Completed(value),
        Ok(Kept::Done) => Outcome::Done,
        Ok(Kept::Response {
            method,
            uri,
            request_headers,
            status,
            headers,
            body,
        }) => Outcome::Response(Response {
            method,
            uri,
            request_headers,
            status,
            headers,
            body: STANDARD.decode(body).unwrap_or_default(),
        }),
        Ok(Kept::Fired) => Outcome::Fired,
        Ok(Kept::Event(event)) => Outcome::Event(event),
        Ok(Kept::Failed(error)) => Outcome::Failed(error),
        Err(error) => Outcome::Failed(Error::runtime(format!(
            "an outcome that was kept does not read: {error}"
        ))),
    }
}

/// A value that Postgres takes: it has no text with NUL.
pub(crate) fn storable(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains('\0') => Value::from(text.replace('\0', "\u{fffd}")),
        Value::Array(values) => values.into_iter().map(storable).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name.replace('\0', "\u{fffd}"), storable(value)))
            .collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_the_same_after_it_was_kept() {
        let response = Response {
            method: "GET".into(),
            uri: "https://example.org/".into(),
            request_headers: BTreeMap::new(),
            status: 200,
            headers: BTreeMap::from([("content-type".into(), "text/plain".into())]),
            body: vec![0, 159],
        };
        for outcome in [
            Outcome::Completed(json!({"a": null})),
            Outcome::Done,
            Outcome::Response(response),
            Outcome::Fired,
            Outcome::Event(json!({"id": "1"})),
            Outcome::Failed(Error::timeout("late")),
        ] {
            assert_eq!(read(keep(outcome.clone())), outcome);
        }
    }

    #[test]
    fn a_text_with_nul_is_made_one_that_postgres_takes() {
        let value = storable(json!({"a\0": ["b\0"]}));
        assert_eq!(value, json!({"a\u{fffd}": ["b\u{fffd}"]}));
    }
}

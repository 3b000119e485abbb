//! What is wrong with a body, said without what stands in it: it may be a password that was sent in the wrong place.

use crate::error::Error;

/// The refusal of a body that is no JSON (400), or JSON of another form (422): `BODY_INVALID`, with the place where it stops
/// fitting, and nothing of its values.
pub fn misfit(error: &serde_json::Error) -> Error {
    let status = if error.is_data() { 422 } else { 400 };
    let details = serde_json::json!({"line": error.line(), "column": error.column()});
    let message = format!("body: {}", without_values(&error.to_string()));
    Error::new(status, "BODY_INVALID", message).with_details(details)
}

/// The sentence of the JSON reader: kept where it names fields, cut where it repeats a value.
fn without_values(text: &str) -> String {
    let (said, place) = match text.rfind(" at line ") {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let names_fields = ["missing field", "unknown field", "duplicate field"];
    if names_fields.iter().any(|start| said.starts_with(start)) {
        return text.to_owned();
    }
    let quote = said.find(['"', '`', '\'']);
    let Some(quote) = quote else {
        return text.to_owned();
    };
    // "invalid type: string "…", expected u32": what is expected comes last, whatever the value has in it.
    match said.rsplit_once(", expected ") {
        Some((found, expected)) if found.len() >= quote => {
            let found = said[..quote].trim_end();
            format!("{found}, expected {expected}{place}")
        }
        // What is expected stands before the quote, or is not said.
        Some(_) => text.to_owned(),
        None => format!("a value has another form than expected{place}"),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use uuid::Uuid;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        One,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Sent {
        name: String,
        id: Option<Uuid>,
        kind: Option<Kind>,
        size: Option<u8>,
    }

    #[track_caller]
    fn check(body: &str, status: u16, message: &str) {
        let error = serde_json::from_str::<Sent>(body).expect_err("it does not fit");
        let refusal = misfit(&error);
        assert_eq!(
            (refusal.status(), refusal.code(), refusal.message()),
            (status, "BODY_INVALID", message)
        );
    }

    #[test]
    fn a_sentence_names_fields_and_places_and_no_values() {
        check(
            "{",
            400,
            "body: EOF while parsing an object at line 1 column 1",
        );
        check("{}", 422, "body: missing field `name` at line 1 column 2");
        check(
            "{\"name\":\"a\",\"size\":\"secret, expected \\\"x\"}",
            422,
            "body: invalid type: string, expected u8 at line 1 column 41",
        );
        check(
            "{\"name\":7331}",
            422,
            "body: invalid type: integer, expected a string at line 1 column 12",
        );
        check(
            "{\"name\":\"a\",\"kind\":\"secret\"}",
            422,
            "body: unknown variant, expected `one` at line 1 column 27",
        );
        check(
            "{\"name\":\"a\",\"id\":\"secret\"}",
            422,
            "body: a value has another form than expected at line 1 column 25",
        );
        check(
            "{\"name\":\"a\",\"colour\":1}",
            422,
            "body: unknown field `colour`, expected one of `name`, `id`, `kind`, `size` at line 1 column 20",
        );
    }
}

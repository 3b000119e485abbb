//! What a client says. Its `connection_init` has headers in it, which Hasura takes for headers of the client's own.

use nself_plugin_api::serde_json::{self, Map, Value, json, value::RawValue};
use serde::Deserialize;

/// What is looked at of a message. One that says a word of it twice does not read: it would mean different things to two readers.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, borrow)]
    payload: Option<&'a RawValue>,
}

/// The message as it is passed on; nothing when it is none.
pub(super) fn cleaned(text: String) -> Option<String> {
    // A list of the same words would read, too.
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let said: Said<'_> = serde_json::from_str(&text).ok()?;
    if said.kind != "connection_init" {
        return Some(text);
    }
    let payload = said.payload.map_or("null", RawValue::get);
    let mut payload: Value = serde_json::from_str(payload).ok()?;
    if let Value::Object(words) = &mut payload {
        strip(words);
        for (name, value) in words.iter_mut() {
            if let (true, Value::Object(headers)) = (name.eq_ignore_ascii_case("headers"), value) {
                strip(headers);
            }
        }
    }
    Some(match payload {
        Value::Null => json!({"type": "connection_init"}).to_string(),
        payload => json!({"type": "connection_init", "payload": payload}).to_string(),
    })
}

fn strip(headers: &mut Map<String, Value>) {
    headers.retain(|name, _| !name.trim().to_ascii_lowercase().starts_with("x-hasura-"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(said: &str, passed_on: Option<&str>) {
        let value = |text: &str| text.parse::<Value>().ok();
        let found = cleaned(said.to_owned());
        assert_eq!(found.as_deref().map(value), passed_on.map(value), "{said}");
    }

    #[test]
    fn a_token_comes_through_and_no_word_of_hasura_s_own() {
        check(
            r#"{"type":"connection_init","payload":{"headers":{"Authorization":"Bearer a","X-Hasura-Admin-Secret":"b","x-hasura-role":"c"},"x-hasura-admin-secret":"d"}}"#,
            Some(
                r#"{"type":"connection_init","payload":{"headers":{"Authorization":"Bearer a"}}}"#,
            ),
        );
        check(
            r#"{"\u0074ype":"connection_init","payload":{"headers":{"x-hasura-admin\u002dsecret":"b"},"Headers":{" X-HASURA-Role":"c"}}}"#,
            Some(r#"{"type":"connection_init","payload":{"Headers":{},"headers":{}}}"#),
        );
        let bare = r#"{"type":"connection_init"}"#;
        check(bare, Some(bare));
    }

    #[test]
    fn everything_else_is_passed_on_letter_by_letter() {
        let subscribe = r#"{"id":"1", "type":"subscribe", "payload":{"query":"q","variables":{"n":12345678901234567890.5}}}"#;
        assert_eq!(cleaned(subscribe.to_owned()).as_deref(), Some(subscribe));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_message() {
        for said in [
            r#"{"type":"start","type":"connection_init","payload":{}}"#,
            r#"{"type":"connection_init","payload":{},"payload":{"headers":{"x-hasura-role":"a"}}}"#,
            r#"["connection_init"]"#,
            "{",
            "",
        ] {
            check(said, None);
        }
    }
}

//! A fuzz target: messages on their way to Hasura.

use nself_plugin_api::serde_json::{self, Map, Value};

use super::said::cleaned;

/// Nobody brings headers of Hasura's own, and what was cleaned has nothing left to be taken out.
pub(crate) fn graphql(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let Some(passed_on) = cleaned(text.to_owned()) else {
        return;
    };
    // What is passed on as it is may have numbers in it that nobody here can read.
    let value: Value = serde_json::from_str(&passed_on).unwrap_or_default();
    if value["type"] != "connection_init" {
        assert_eq!(passed_on, text);
        return;
    }
    let again = cleaned(passed_on).expect("what was passed on is a message");
    let again: Value = serde_json::from_str(&again).expect("a message is JSON");
    assert_eq!(again, value);
    let Some(payload) = value["payload"].as_object() else {
        return;
    };
    assert!(!names_hasura(payload), "{text}");
    for (name, headers) in payload {
        if let (true, Some(headers)) = (name.eq_ignore_ascii_case("headers"), headers.as_object()) {
            assert!(!names_hasura(headers), "{text}");
        }
    }
}

fn names_hasura(headers: &Map<String, Value>) -> bool {
    let is_hasuras = |name: &String| name.trim().to_ascii_lowercase().starts_with("x-hasura-");
    headers.keys().any(is_hasuras)
}

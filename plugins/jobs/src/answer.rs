//! What the answer of another service means for the job that asked: how long to wait, and what to keep of its body.

use std::time::Duration;

use nself_plugin_api::{
    bytes::{Bytes, BytesMut},
    capability::http::HttpResponse,
    http::{
        HeaderMap,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    jiff::{Timestamp, fmt::rfc2822},
    serde_json::{self, Value},
};

/// Longest body that is kept as a result, bytes.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;
/// How much of a stranger's body an error may show, characters.
const EXCERPT_CHARS: usize = 200;
/// Longest pause that a stranger may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Shortest one: "now" is for whoever may flood itself.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// A body, as far as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// All of it.
    Whole(Bytes),
    /// It is longer than what is kept.
    TooLong,
    /// The connection broke.
    Broken,
}

/// Reads a body, at most `bytes_max` of it.
pub(crate) async fn read(mut response: HttpResponse, bytes_max: usize) -> Read {
    let mut whole = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if whole.len() + chunk.len() > bytes_max => return Read::TooLong,
            Ok(Some(chunk)) => whole.extend_from_slice(&chunk),
            Ok(None) => return Read::Whole(whole.freeze()),
            Err(_) => return Read::Broken,
        }
    }
}

/// Whether a body says that it is JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json") || essence.ends_with("+json")
}

/// A body as JSON that the database can store.
pub(crate) fn storable(body: &[u8]) -> Option<Value> {
    let value: Value = serde_json::from_slice(body).ok()?;
    is_storable(&value).then_some(value)
}

/// Postgres has no null character in texts.
fn is_storable(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.contains('\0'),
        Value::Array(items) => items.iter().all(is_storable),
        Value::Object(fields) => {
            let mut fields = fields.iter();
            fields.all(|(name, value)| !name.contains('\0') && is_storable(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// When `Retry-After` says that it is worth another try: in seconds or at a date (RFC 9110, section 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = if let Ok(seconds) = value.parse() {
        Duration::from_secs(seconds)
    } else {
        let at = rfc2822::parse(value).ok()?.timestamp();
        Duration::try_from(at.duration_since(now)).unwrap_or_default()
    };
    Some(pause.clamp(PAUSE_MIN, PAUSE_MAX))
}

/// The beginning of a body as one line, for an error; empty when it is no text.
pub(crate) fn excerpt(read: &Read) -> String {
    let Read::Whole(body) = read else {
        return String::new();
    };
    let Ok(text) = std::str::from_utf8(body) else {
        return String::new();
    };
    let text = text.trim().chars().take(EXCERPT_CHARS);
    text.map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}

/// ` and says: …`, or nothing.
pub(crate) fn and_says(read: &Read) -> String {
    match &*excerpt(read) {
        "" => String::new(),
        excerpt => format!(" and says: {excerpt}"),
    }
}

#[cfg(test)]
mod tests {
    use nself_plugin_api::http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check_retry_after(value: &'static str, seconds: Option<u64>) {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
        let now = "2030-01-01T00:00:00Z".parse().expect("a time");
        let pause = retry_after(&headers, now).map(|pause| pause.as_secs());
        assert_eq!(pause, seconds, "{value}");
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date_and_has_bounds() {
        check_retry_after("120", Some(120));
        check_retry_after("0", Some(1));
        check_retry_after("99999999999", Some(86_400));
        check_retry_after("Tue, 01 Jan 2030 00:02:00 GMT", Some(120));
        check_retry_after("Mon, 31 Dec 2029 00:02:00 GMT", Some(1));
        check_retry_after("soon", None);
        check_retry_after("-1", None);
    }

    #[test]
    fn what_the_database_cannot_store_is_not_kept() {
        assert_eq!(
            storable(br#"{"a": [1]}"#),
            Some(serde_json::json!({"a": [1]}))
        );
        for bad in [
            &b"{"[..],
            br#"{"a": ["\u0000"]}"#,
            br#"{"\u0000": 1}"#,
            b"1e999",
            b"\xff",
        ] {
            assert_eq!(storable(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_error_shows_one_short_line_of_a_body() {
        let body = format!("no\r\nroom{}", "!".repeat(1_000));
        let shown = excerpt(&Read::Whole(body.into()));
        assert!(shown.starts_with("no  room!"), "{shown}");
        assert_eq!(shown.chars().count(), EXCERPT_CHARS);
        assert_eq!(excerpt(&Read::Whole(Bytes::from_static(b"\xff"))), "");
        assert_eq!(and_says(&Read::Broken), "");
    }
}

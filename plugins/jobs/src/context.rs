//! What a handler is told beside the payload: a [`JobContext`](nself_plugin_api::job::JobContext) as JSON, put together from
//! what the job carries, which is JSON already.

use std::fmt::Write as _;

use nself_plugin_api::{bytes::Bytes, jiff::Timestamp};

use crate::engine::Job;

/// Seconds at which ids begin to count.
const EPOCH: i64 = 1_704_067_200;

/// When a job was enqueued: the time in its id.
pub(crate) fn enqueued_at(id: i64) -> Timestamp {
    Timestamp::from_second((id >> 22) + EPOCH).unwrap_or_default()
}

/// The context of an attempt.
pub(crate) fn of(job: &Job, queue: &str) -> Bytes {
    let mut text = String::with_capacity(96 + job.meta.len());
    // Writing to a String does not fail.
    let _ = write!(
        text,
        r#"{{"queue":"{queue}","enqueued_at":"{}""#,
        enqueued_at(job.id)
    );
    if let Some(family) = job.family_id {
        let _ = write!(text, r#","family_id":"{family}""#);
    }
    push_fields(&mut text, &job.meta);
    text.into()
}

/// What a job carries, with the large result of the job before it, which lay elsewhere.
pub(crate) fn with_previous(meta: &Bytes, previous: &Bytes) -> Bytes {
    let previous = std::str::from_utf8(previous).unwrap_or("null");
    let mut text = format!(r#"{{"previous":{previous}"#);
    push_fields(&mut text, meta);
    text.into()
}

/// Ends an object that has a field with the fields of another one.
fn push_fields(text: &mut String, object: &Bytes) {
    // Without its first brace.
    match std::str::from_utf8(object)
        .ok()
        .and_then(|object| object.trim().strip_prefix('{'))
    {
        Some(rest) if rest.trim() != "}" => {
            text.push(',');
            text.push_str(rest);
        }
        _ => text.push('}'),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nself_plugin_api::{job::JobContext, serde_json};

    use super::*;

    fn job(meta: &'static str) -> Job {
        Job {
            id: 1 << 22,
            attempt: 1,
            attempts_max: 1,
            kind: Arc::from("a.b"),
            family_id: None,
            has_key: false,
            meta: Bytes::from_static(meta.as_bytes()),
            payload: Bytes::from_static(b"{}"),
        }
    }

    #[test]
    fn a_context_holds_what_the_job_carries() {
        let told = of(
            &job(r#"{"tags": ["a"], "errors": [{"attempt": 1, "code": "BUSY"}]}"#),
            "media",
        );
        let context: JobContext = serde_json::from_slice(&told).expect("it reads");
        assert_eq!(
            (&*context.queue, context.tags),
            ("media", vec!["a".to_owned()])
        );
        assert_eq!(context.errors[0].code, "BUSY");
        assert_eq!(
            context.enqueued_at,
            Some("2024-01-01T00:00:01Z".parse().expect("a time"))
        );
        for nothing in ["", "{}"] {
            let context: JobContext =
                serde_json::from_slice(&of(&job(nothing), "q")).expect("it reads");
            assert_eq!(context.queue, "q");
        }
    }

    #[test]
    fn a_large_result_of_the_job_before_is_told_like_a_small_one() {
        for meta in ["", "{}", r#"{"parent": 7}"#] {
            let previous = Bytes::from_static(br#"{"sum": 3}"#);
            let mut large = job(meta);
            large.meta = with_previous(&large.meta, &previous);
            let context: JobContext = serde_json::from_slice(&of(&large, "q")).expect("it reads");
            assert_eq!(context.previous, Some(serde_json::json!({"sum": 3})));
        }
    }
}

//! The body: a job as a `CloudEvents` 1.0 event in structured JSON.

use nself_plugin_api::{
    bytes::Bytes,
    jiff::Timestamp,
    job::{JobBatch, JobContext},
    prelude::*,
    serde_json::{self, Value, value::RawValue},
    uuid::Uuid,
};
use serde::Serialize;

use crate::{context, engine::Job};

/// Where events come from, as long as their ids are those of jobs.
const SOURCE: &str = "/v1/jobs";

/// The event. Names of attributes that are ours have no capitals and no underscores: `CloudEvents` allows neither.
#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: String,
    source: &'static str,
    #[serde(rename = "type")]
    kind: &'a str,
    time: Option<Timestamp>,
    datacontenttype: &'static str,
    attempt: u32,
    attemptsmax: u32,
    queue: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    familyid: Option<Uuid>,
    /// The attribute of the distributed tracing extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduledat: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    firedat: Option<Timestamp>,
    /// JSON as a text, because an attribute is no object. The next one as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endedbatch: Option<String>,
    data: &'a RawValue,
}

/// An event as it is sent.
pub(super) struct Event {
    pub body: Bytes,
    pub trace_parent: Option<String>,
}

/// Writes the event of an attempt.
pub(super) fn write(job: &Job, queue: &str) -> Result<Event> {
    let told: JobContext =
        serde_json::from_slice(&context::of(job, queue)).map_err(Error::internal)?;
    let event = CloudEvent {
        specversion: "1.0",
        id: job.id.to_string(),
        source: SOURCE,
        kind: &job.kind,
        time: told.enqueued_at,
        datacontenttype: "application/json",
        attempt: job.attempt,
        attemptsmax: job.attempts_max,
        queue,
        familyid: told.family_id,
        traceparent: told.trace_parent.as_deref(),
        scheduledat: told.scheduled_at,
        firedat: told.fired_at,
        previous: told.previous.as_ref().map(Value::to_string),
        endedbatch: told.ended_batch.as_ref().map(text).transpose()?,
        data: serde_json::from_slice(&job.payload).map_err(Error::internal)?,
    };
    let body = serde_json::to_vec(&event).map_err(Error::internal)?.into();
    Ok(Event {
        body,
        trace_parent: told.trace_parent,
    })
}

fn text(batch: &JobBatch) -> Result<String> {
    serde_json::to_string(batch).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_made_a_job_stands_in_attributes_and_not_in_its_data() {
        let job = Job {
            id: 1 << 22,
            attempt: 1,
            attempts_max: 1,
            kind: Arc::from("a.b"),
            family_id: None,
            has_key: false,
            meta: Bytes::from_static(
                br#"{"scheduled_at": "2030-01-01T00:00:00.000000Z", "fired_at": "2030-01-01T00:00:00.250000Z", "batch": "the one that it is in",
                    "previous": {"sum": 3}, "ended_batch": {"id": "00000000-0000-0000-0000-000000000001", "total": 2, "failed": 1}}"#,
            ),
            payload: Bytes::from_static(b"{}"),
        };
        let event = write(&job, "q").expect("it is written");
        let event: Value = serde_json::from_slice(&event.body).expect("JSON");
        assert_eq!(event["scheduledat"], "2030-01-01T00:00:00Z");
        assert_eq!(event["firedat"], "2030-01-01T00:00:00.25Z");
        assert_eq!(event["previous"], r#"{"sum":3}"#);
        let batch: JobBatch = event["endedbatch"]
            .as_str()
            .and_then(|text| serde_json::from_str(text).ok())
            .expect("a batch as a text");
        assert_eq!(
            (batch.total, batch.failed, batch.is_cancelled),
            (2, 1, false)
        );
        assert_eq!(event["data"], serde_json::json!({}));
    }

    #[test]
    fn an_event_is_the_same_at_every_attempt_but_for_the_attempt() {
        let job = Job {
            id: 1 << 22,
            attempt: 2,
            attempts_max: 10,
            kind: Arc::from("photos.resize"),
            family_id: None,
            has_key: false,
            meta: Bytes::from_static(br#"{"trace_parent": "00-aa-bb-01"}"#),
            payload: Bytes::from_static(br#"{"width":  10}"#),
        };
        let event = write(&job, "media").expect("it is written");
        assert_eq!(
            &*event.body,
            br#"{"specversion":"1.0","id":"4194304","source":"/v1/jobs","type":"photos.resize","time":"2024-01-01T00:00:01Z","datacontenttype":"application/json","attempt":2,"attemptsmax":10,"queue":"media","traceparent":"00-aa-bb-01","data":{"width":  10}}"#
        );
    }
}

//! `jobs.http_request`: a request to another service, through the host's guarded client.

use std::{collections::BTreeMap, time::Duration};

use nself_plugin_api::{
    capability::http::HttpResponse,
    http::{HeaderName, HeaderValue},
    prelude::*,
    serde_json::{Value, json},
};
use serde::Deserialize;

use crate::{
    Jobs,
    answer::{self, BODY_BYTES_MAX, Read, and_says},
};

/// Methods that a job may use.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
/// Longest exchange: the engine drops a job that takes longer than its own limit.
const TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    url: String,
    #[serde(default = "get")]
    method: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A text is sent as it is, anything else as JSON.
    #[serde(default)]
    body: Option<Value>,
    /// Statuses that are success; all from 200 to 299 when there are none.
    #[serde(default)]
    statuses: Vec<u16>,
}

fn get() -> String {
    "GET".to_owned()
}

impl Wanted {
    fn check(self) -> Result<Self> {
        if !METHODS.contains(&&*self.method) {
            return Err(Error::discard(
                "method: expected one of GET, HEAD, POST, PUT, PATCH, DELETE",
            ));
        }
        let is_header = |(name, value): (&String, &String)| {
            HeaderName::from_bytes(name.as_bytes()).is_ok() && HeaderValue::from_str(value).is_ok()
        };
        if !self.headers.iter().all(is_header) {
            return Err(Error::discard("headers: one of them is none"));
        }
        Ok(self)
    }

    fn has(&self, header: &str) -> bool {
        self.headers
            .keys()
            .any(|name| name.eq_ignore_ascii_case(header))
    }

    fn expects(&self, status: u16) -> bool {
        if self.statuses.is_empty() {
            (200..300).contains(&status)
        } else {
            self.statuses.contains(&status)
        }
    }
}

/// Sends the request. Its result is the answer: status, and the body when it is JSON or a text of at most 64 KiB.
pub(crate) async fn run(cx: Cx<Jobs>, job: JobRun) -> Result<Value> {
    let wanted = job.json::<Wanted>()?.check()?;
    let response = send(&cx, &job, &wanted).await?;
    let status = response.status();
    let now = cx.clock().now()?;
    let pause = answer::retry_after(response.headers(), now);
    let is_json = answer::is_json(response.headers());
    let body = answer::read(response, BODY_BYTES_MAX).await;
    if wanted.expects(status) {
        return Ok(json!({"status": status, "body": kept(body, is_json)}));
    }
    let message = format!("the service answered {status}{}", and_says(&body));
    let error = Error::new(502, "JOB_HTTP_STATUS", message);
    Err(match pause {
        Some(pause) if matches!(status, 429 | 503) => error.with_retry_after(pause),
        _ => error,
    })
}

async fn send(cx: &Cx<Jobs>, job: &JobRun, wanted: &Wanted) -> Result<HttpResponse> {
    let http = cx.http();
    let mut request = http.request(&wanted.method, &wanted.url).timeout(TIMEOUT);
    for (name, value) in &wanted.headers {
        request = request.header(name, value);
    }
    if !wanted.has("idempotency-key") {
        // The same at every attempt.
        request = request.header("idempotency-key", &format!("\"jobs:{}\"", job.id));
    }
    let trace_parent = job.context()?.trace_parent;
    if let Some(trace_parent) = trace_parent.filter(|_| !wanted.has("traceparent")) {
        request = request.header("traceparent", &trace_parent);
    }
    request = match &wanted.body {
        None | Some(Value::Null) => request,
        Some(Value::String(text)) => request.body(text.clone()),
        Some(body) if wanted.has("content-type") => request.body(body.to_string()),
        Some(body) => request.json(body)?,
    };
    request.send().await
}

/// What stays of a body; null for what cannot be kept.
fn kept(body: Read, is_json: bool) -> Value {
    let Read::Whole(body) = body else {
        return Value::Null;
    };
    if is_json {
        return answer::storable(&body).unwrap_or_default();
    }
    let text = std::str::from_utf8(&body).ok();
    let text = text.filter(|text| !text.is_empty() && !text.contains('\0'));
    text.map_or(Value::Null, Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wanted: Value, expected: Result<(), &str>) {
        let wanted: Wanted = nself_plugin_api::serde_json::from_value(wanted).expect("it reads");
        let checked = wanted.check().map(|_| ());
        let checked = checked.map_err(|error| error.message().to_owned());
        assert_eq!(checked, expected.map_err(str::to_owned));
    }

    #[test]
    fn a_request_that_could_never_be_sent_is_given_up() {
        let url = "https://example.org/";
        check(json!({"url": url}), Ok(()));
        check(
            json!({"url": url, "method": "CONNECT"}),
            Err("method: expected one of GET, HEAD, POST, PUT, PATCH, DELETE"),
        );
        check(
            json!({"url": url, "headers": {"a b": "c"}}),
            Err("headers: one of them is none"),
        );
    }

    #[test]
    fn of_a_body_json_and_texts_are_kept() {
        let whole = |text: &'static str| Read::Whole(text.into());
        assert_eq!(kept(whole("{\"a\":1}"), true), json!({"a": 1}));
        assert_eq!(kept(whole("{\"a\":1}"), false), json!("{\"a\":1}"));
        assert_eq!(kept(whole("no"), true), Value::Null);
        assert_eq!(kept(Read::TooLong, true), Value::Null);
    }
}

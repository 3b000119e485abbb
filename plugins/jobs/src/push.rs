//! Kinds whose jobs are sent to an endpoint: a `CloudEvents` body, signed as Standard Webhooks say, and an answer that says how
//! the job went.
//!
//! A job may be sent twice, as when this host dies before the answer is written down. The event has the job's id each time:
//! whoever has seen it answers 2xx and does nothing.

mod event;
mod secret;

use std::{sync::Arc, time::Duration};

use nself_plugin_api::{bytes::Bytes, capability::http::HttpResponse, prelude::*, tracing::debug};

pub(crate) use self::secret::{Key, NewSecret};
use crate::{
    Jobs,
    answer::{self, BODY_BYTES_MAX, Read, and_says},
    engine::Job,
    store,
};

/// How much of the body of a refusal is read, bytes.
const REFUSAL_BYTES_MAX: usize = 4 * 1024;

/// Where the jobs of a kind are sent.
pub(crate) struct Endpoint {
    /// The address.
    pub url: String,
    /// What signs them.
    pub key: Key,
}

/// Sends a job and waits at most `limit` for what came of it.
pub(crate) async fn deliver(
    cx: Cx<Jobs>,
    endpoint: Arc<Endpoint>,
    job: Job,
    queue: Arc<str>,
    limit: Duration,
) -> Result<Bytes> {
    let event = event::write(&job, &queue)?;
    let id = job.id.to_string();
    let sent_at = cx.clock().now()?;
    let timestamp = sent_at.as_second().to_string();
    let signature = endpoint.key.sign(&id, &timestamp, &event.body);
    let http = cx.http();
    let mut request = http
        .request("POST", &endpoint.url)
        .header("content-type", "application/cloudevents+json")
        .header("webhook-id", &id)
        .header("webhook-timestamp", &timestamp)
        .header("webhook-signature", &signature)
        // The engine drops this when the time is over, and says so.
        .timeout(limit + Duration::from_secs(1));
    if let Some(trace_parent) = &event.trace_parent {
        request = request.header("traceparent", trace_parent);
    }
    let response = request.body(event.body).send().await?;
    match response.status() {
        200..=299 => result(&cx, job.id, response).await,
        410 => Err(Error::discard(
            "the endpoint answered 410: it wants no such jobs",
        )),
        status => Err(refusal(&cx, status, response).await),
    }
}

/// The result of a job that is done: the answer's body when it is JSON, else none. What cannot be kept is said in the job's
/// log; the job is done all the same.
async fn result(cx: &Cx<Jobs>, job: i64, response: HttpResponse) -> Result<Bytes> {
    let is_json = answer::is_json(response.headers());
    let body = match answer::read(response, BODY_BYTES_MAX).await {
        Read::Whole(body) if body.is_empty() || !is_json => return Ok(Bytes::new()),
        body => body,
    };
    let why = match body {
        Read::Whole(body) => match answer::storable(&body) {
            Some(value) => return Ok(value.to_string().into()),
            None => "it is no JSON that can be stored",
        },
        Read::TooLong => "it is longer than 64 KiB",
        Read::Broken => "the connection broke before its end",
    };
    let line = format!("the endpoint's answer is not kept: {why}");
    if let Err(error) = store::logs::append(&cx.db(), job, &["warn"], &[&line]).await {
        debug!(job, error = %error, "the log of a job cannot be written");
    }
    Ok(Bytes::new())
}

async fn refusal(cx: &Cx<Jobs>, status: u16, response: HttpResponse) -> Error {
    let now = cx.clock().now().unwrap_or_default();
    let pause = answer::retry_after(response.headers(), now);
    let pause = pause.filter(|_| matches!(status, 429 | 503));
    let says = and_says(&answer::read(response, REFUSAL_BYTES_MAX).await);
    let hint = if (300..400).contains(&status) {
        "; redirects are not followed"
    } else {
        ""
    };
    let message = format!("the endpoint answered {status}{hint}{says}");
    let error = Error::new(502, "JOB_ENDPOINT_STATUS", message);
    match pause {
        Some(pause) => error.with_retry_after(pause),
        None => error,
    }
}

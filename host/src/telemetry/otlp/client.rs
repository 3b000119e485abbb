//! One message to the collector: again after a while when it has no time, and never again when it says no.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use jiff::{Timestamp, fmt::rfc2822};
use tokio::{sync::watch, task::spawn_blocking, time::timeout};
use tracing::{info, warn};

use super::{
    Dropped, OtlpError, OtlpSettings, REFUSED, REJECTED, Signal, UNREACHABLE,
    wire::{Message, Partial, partial_success},
};
use crate::{capability::http::Egress, http::unique_u64};

/// For one try, answer and all; the specification's default.
const PATIENCE: Duration = Duration::from_secs(10);
/// Tries for one message.
const TRIES_MAX: u32 = 5;
/// Before the second try, and twice as long before each next one.
const PAUSE: Duration = Duration::from_secs(1);
/// However long the collector asks to be left alone.
const PAUSE_MAX: Duration = Duration::from_secs(120);
/// Longest answer that is read, and longest message of one that is logged.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const MESSAGE_CHARS_MAX: usize = 256;

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("nself-otlp/", env!("CARGO_PKG_VERSION")));

/// Sends messages to one collector.
pub(super) struct Client {
    http: HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    settings: OtlpSettings,
    dropped: Dropped,
    stopping: watch::Receiver<bool>,
    /// Whether the last try of each signal failed: that is logged when it begins and when it ends.
    fails: [AtomicBool; 2],
}

/// How a try went that did not go well.
enum Failure {
    /// Another one may go better, after this time if the collector says one.
    Passing(Option<Duration>, String),
    /// Another one would not.
    Lasting(String),
}

impl Client {
    pub(super) fn new(
        settings: &OtlpSettings,
        egress: &Egress,
        dropped: Dropped,
        stopping: watch::Receiver<bool>,
    ) -> Result<Self, OtlpError> {
        let trusting = |path: &Path| egress.tls_and(path).map_err(OtlpError::Certificate);
        let tls = settings.certificate.as_deref().map(trusting).transpose()?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.unwrap_or_else(|| egress.tls()))
            .https_or_http()
            .enable_all_versions()
            .build();
        let http = HttpClient::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self {
            http,
            settings: settings.clone(),
            dropped,
            stopping,
            fails: Default::default(),
        })
    }

    /// Who sends, as a `Resource`.
    pub(super) fn resource(&self) -> &Message {
        &self.settings.resource
    }

    /// Resolves when what is left has to be sent.
    pub(super) async fn stopping(&self) {
        let mut stopping = self.stopping.clone();
        // An error is that the exporter is gone, and with it this task.
        let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
    }

    /// Sends `message`, in which are `count` spans or data points. Whatever becomes of it is counted and logged here.
    pub(super) async fn send(&self, signal: Signal, message: Vec<u8>, count: u64) {
        let body = spawn_blocking(move || compressed(&message)).await;
        let body = body.expect("compression does not panic");
        for number in 1..=TRIES_MAX {
            // Who is about to stop tries once more and waits no longer.
            let is_last = number == TRIES_MAX || *self.stopping.borrow();
            match self.post(signal, body.clone()).await {
                Ok(partial) => return self.taken(signal, &partial),
                Err(Failure::Lasting(reason)) => {
                    self.complain(signal, &reason);
                    return self.dropped.add(signal, REFUSED, count);
                }
                Err(Failure::Passing(_, reason)) if is_last => {
                    self.complain(signal, &reason);
                    return self.dropped.add(signal, UNREACHABLE, count);
                }
                Err(Failure::Passing(wanted, reason)) => {
                    self.complain(signal, &reason);
                    let pause = wanted.unwrap_or_else(|| backoff(number)).min(PAUSE_MAX);
                    let _ = timeout(pause, self.stopping()).await;
                }
            }
        }
    }

    /// Whether the collector takes a message, at the first try.
    pub(super) async fn ask(&self, signal: Signal, message: Vec<u8>) -> Result<(), String> {
        match self.post(signal, compressed(&message)).await {
            Ok(_) => Ok(()),
            Err(Failure::Passing(_, reason) | Failure::Lasting(reason)) => Err(reason),
        }
    }

    fn taken(&self, signal: Signal, partial: &Partial) {
        if self.fails[signal as usize].swap(false, Ordering::Relaxed) {
            info!(signal = signal.name(), "exported to the collector again");
        }
        self.dropped.add(signal, REJECTED, partial.rejected);
        if partial.rejected > 0 || !partial.message.is_empty() {
            let said: String = partial.message.chars().take(MESSAGE_CHARS_MAX).collect();
            let rejected = partial.rejected;
            warn!(signal = signal.name(), rejected, %said, "the collector did not take all of it");
        }
    }

    /// Once for as long as it lasts: a collector that is away for a night must not fill the log.
    fn complain(&self, signal: Signal, reason: &str) {
        if !self.fails[signal as usize].swap(true, Ordering::Relaxed) {
            let collector = self.settings.origin();
            warn!(
                signal = signal.name(),
                collector, reason, "cannot export to the collector"
            );
        }
    }

    async fn post(&self, signal: Signal, body: Bytes) -> Result<Partial, Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.settings.uri(signal);
        let headers = request.headers_mut();
        headers.extend(self.settings.headers.clone());
        headers.insert(header::CONTENT_TYPE, PROTOBUF);
        headers.insert(header::CONTENT_ENCODING, GZIP);
        headers.insert(header::USER_AGENT, AGENT);
        let passing = |reason: String| Failure::Passing(None, reason);
        let exchange = async {
            let answer = self.http.request(request).await;
            let answer = answer.map_err(|error| passing(chain(&error)))?;
            check(&answer)?;
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
            let body = body.collect().await;
            Ok(body.ok().map(Collected::to_bytes))
        };
        let answer = timeout(PATIENCE, exchange).await;
        let answer = answer.map_err(|_| passing("it does not answer in time".to_owned()))??;
        // It said that it took it. Whatever this is, sending all of it again would not mend it.
        let partial = answer.and_then(|answer| partial_success(&answer));
        Ok(partial.unwrap_or_else(|| Partial {
            message: "its answer cannot be read: it may be no collector".to_owned(),
            ..Partial::default()
        }))
    }
}

fn compressed(message: &[u8]) -> Bytes {
    use std::io::Write as _;

    let room = Vec::with_capacity(message.len() / 4 + 64);
    let mut encoder = GzEncoder::new(room, Compression::fast());
    let written = encoder.write_all(message).and_then(|()| encoder.finish());
    written.expect("memory takes what is written").into()
}

/// Which answers are worth another try is the protocol's list.
fn check(answer: &Response<Incoming>) -> Result<(), Failure> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let reason = format!("it answers {}", status.as_u16());
    match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            let wanted = answer.headers().get(header::RETRY_AFTER);
            let wanted = wanted.and_then(|value| retry_after(value.to_str().ok()?));
            Err(Failure::Passing(wanted, reason))
        }
        _ => Err(Failure::Lasting(reason)),
    }
}

/// Seconds, or a date.
fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = rfc2822::parse(text.trim()).ok()?.timestamp();
    let wait = date.duration_since(Timestamp::now());
    Some(wait.try_into().unwrap_or_default())
}

/// From half to all of it, so that those who were refused together do not come back together.
fn backoff(failures: u32) -> Duration {
    let pause = PAUSE * 2_u32.pow(failures - 1);
    let part = u32::try_from(unique_u64() % 1_000).unwrap_or_default();
    pause / 2 + pause * part / 2_000
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_collector_says_when_in_seconds_or_by_a_date() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        let past = retry_after("Fri, 31 Dec 1999 23:59:59 GMT");
        assert_eq!(past, Some(Duration::ZERO));
        let future = retry_after("Fri, 31 Dec 2100 23:59:59 GMT");
        assert!(future > Some(Duration::from_secs(86_400)));
        assert_eq!(retry_after("soon"), None);
    }

    #[test]
    fn pauses_double_and_are_never_the_same() {
        for failures in 1..TRIES_MAX {
            let most = PAUSE * 2_u32.pow(failures - 1);
            let pauses: Vec<Duration> = (0..50).map(|_| backoff(failures)).collect();
            let fits = |pause: &Duration| *pause >= most / 2 && *pause <= most;
            assert!(pauses.iter().all(fits), "{pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        }
    }
}

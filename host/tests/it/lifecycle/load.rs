//! Callers that never pause, and what they met.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{SinkExt as _, StreamExt as _};
use http::Method;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use super::caller::{Caller, Failure, socket, text};
use super::project::PATIENCE;

/// What callers met.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Whole, good answers.
    pub(crate) good: usize,
    /// Everything else: when the request was sent, and what happened.
    pub(crate) failures: Vec<(Instant, Failure)>,
    /// Ids that the host has acknowledged to have stored.
    pub(crate) stored: Vec<Uuid>,
    /// Versions in the order in which one connection saw them, of all connections.
    pub(crate) versions: Vec<Vec<String>>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.good += other.good;
        self.failures.extend(other.failures);
        self.stored.extend(other.stored);
        self.versions.extend(other.versions);
    }

    #[track_caller]
    pub(crate) fn flawless(&self) {
        let first: Vec<&Failure> = self.failures.iter().map(|(_, what)| what).take(5).collect();
        assert!(
            self.failures.is_empty(),
            "{} of {} failed: {first:?}",
            self.failures.len(),
            self.failures.len() + self.good
        );
        assert!(self.good > 0, "nobody called");
    }
}

/// Running callers.
pub(crate) struct Load {
    address: SocketAddr,
    stop: Arc<watch::Sender<bool>>,
    callers: JoinSet<Tally>,
}

impl Load {
    pub(crate) fn on(address: SocketAddr) -> Self {
        Self {
            address,
            stop: Arc::new(watch::Sender::new(false)),
            callers: JoinSet::new(),
        }
    }

    /// Callers that get `path` over and over, each on one connection, which must never be closed.
    pub(crate) fn getting(mut self, callers: usize, path: &'static str) -> Self {
        for _ in 0..callers {
            self.callers
                .spawn(get_all(self.address, path, self.stop.subscribe()));
        }
        self
    }

    /// Callers that hold a WebSocket, speak over it, and open another one when the host asks them to.
    pub(crate) fn speaking(mut self, callers: usize, path: &'static str) -> Self {
        for _ in 0..callers {
            self.callers
                .spawn(speak(self.address, path, self.stop.subscribe()));
        }
        self
    }

    /// Callers that write notes and remember which ones were acknowledged. They connect again after a failure.
    pub(crate) fn writing(mut self, callers: usize, token: &str) -> Self {
        for _ in 0..callers {
            self.callers
                .spawn(write(self.address, token.to_owned(), self.stop.subscribe()));
        }
        self
    }

    /// Ends the callers; what they met.
    pub(crate) async fn end(mut self) -> Tally {
        self.stop.send_replace(true);
        let mut all = Tally::default();
        while let Some(tally) = self.callers.join_next().await {
            all.add(tally.unwrap());
        }
        all
    }
}

async fn get_all(address: SocketAddr, path: &str, stop: watch::Receiver<bool>) -> Tally {
    let mut tally = Tally::default();
    let mut versions: Vec<String> = Vec::new();
    let mut caller = None;
    while !*stop.borrow() {
        let sent = Instant::now();
        let answer = call(&mut caller, address, path).await;
        match answer {
            Ok(body) => {
                tally.good += 1;
                if versions.last() != Some(&body) {
                    versions.push(body);
                }
            }
            Err(failure) => {
                caller = None;
                tally.failures.push((sent, failure));
                tokio::task::yield_now().await;
            }
        }
    }
    tally.versions.push(versions);
    tally
}

/// The body of a good answer.
async fn call(
    caller: &mut Option<Caller>,
    address: SocketAddr,
    path: &str,
) -> Result<String, Failure> {
    if caller.is_none() {
        *caller = Some(Caller::connect(address).await?);
    }
    let caller = caller.as_mut().expect("set above");
    let answer = caller.try_get(path).await?;
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    let whole = answer.header("content-type") != "text/plain" || body.ends_with("end\n");
    if answer.status == 200 && whole {
        Ok(body)
    } else {
        Err(format!("{} {body}", answer.status))
    }
}

async fn speak(address: SocketAddr, path: &str, stop: watch::Receiver<bool>) -> Tally {
    let mut tally = Tally::default();
    while !*stop.borrow() {
        let begun = Instant::now();
        match converse(address, path, &stop).await {
            Ok(messages) => tally.good += messages,
            Err(failure) => tally.failures.push((begun, failure)),
        }
    }
    tally
}

/// Speaks until the host closes with "service restart", or the load ends; how many messages came back.
async fn converse(
    address: SocketAddr,
    path: &str,
    stop: &watch::Receiver<bool>,
) -> Result<usize, Failure> {
    let mut socket = socket(address, path).await?;
    let mut echoed = 0;
    while !*stop.borrow() {
        // The host may have closed: then its reason is what is read next.
        let _ = socket.send(Message::text("ping")).await;
        let received = tokio::time::timeout(PATIENCE, socket.next()).await;
        match received.map_err(|_| "no message in time".to_owned())? {
            Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 1012 => {
                return Ok(echoed);
            }
            Some(Ok(message)) if !text(&message).is_empty() => echoed += 1,
            other => return Err(format!("socket: {other:?}")),
        }
    }
    let _ = socket.close(None).await;
    Ok(echoed)
}

async fn write(address: SocketAddr, token: String, stop: watch::Receiver<bool>) -> Tally {
    let mut tally = Tally::default();
    let mut caller: Option<Caller> = None;
    while !*stop.borrow() {
        let sent = Instant::now();
        match store(&mut caller, address, &token).await {
            Ok(id) => {
                tally.good += 1;
                tally.stored.push(id);
            }
            Err(failure) => {
                caller = None;
                tally.failures.push((sent, failure));
                tokio::task::yield_now().await;
            }
        }
    }
    tally
}

async fn store(
    caller: &mut Option<Caller>,
    address: SocketAddr,
    token: &str,
) -> Result<Uuid, Failure> {
    if caller.is_none() {
        *caller = Some(Caller::connect(address).await?.with_token(token));
    }
    let caller = caller.as_mut().expect("set above");
    let draft = bytes::Bytes::from_static(b"{\"title\":\"acknowledged\"}");
    let answer = caller.send(Method::POST, "/hello/notes", draft).await?;
    let body = String::from_utf8_lossy(&answer.body);
    if answer.status != 201 {
        return Err(format!("{} {body}", answer.status));
    }
    let value: serde_json::Value =
        serde_json::from_str(&body).map_err(|error| error.to_string())?;
    let id = value["data"]["id"].as_str().unwrap_or_default();
    id.parse().map_err(|_| format!("no id in {body}"))
}

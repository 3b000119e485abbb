//! Who looks at what jobs do, live.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_channel::mpsc::{self, Receiver, Sender};
use nself_plugin_api::{
    futures_util::{Stream, StreamExt},
    jiff::Timestamp,
    serde_json,
};
use serde::{Deserialize, Serialize};

use super::locked;

/// What a watcher may be behind; what comes then is not told to it.
const BEHIND_MAX: usize = 1_000;

/// One thing that happened to a job.
pub(crate) struct Seen {
    /// What it is.
    pub kind: String,
    /// Where it came from.
    pub queue: String,
    /// What it is now.
    pub state: &'static str,
    /// All of it.
    pub json: String,
}

/// The attempt that it happened to.
pub(super) struct Which<'a> {
    pub id: i64,
    pub kind: &'a str,
    pub queue: &'a str,
    pub attempt: u32,
}

/// As it is told.
#[derive(Debug, Serialize)]
struct News<'a> {
    /// When, by this host's clock.
    at: Timestamp,
    id: i64,
    kind: &'a str,
    queue: &'a str,
    attempt: u32,
    /// `running` (it did not end at once, or a worker has fetched it), `completed`, `failed`, `discarded`, `cancelled` or `snoozed`.
    state: &'static str,
    /// How long the attempt took.
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ms: Option<f64>,
    /// Code and text of its error.
    #[serde(flatten)]
    error: Told,
}

#[derive(Debug, Default, Deserialize, Serialize)]
struct Told {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// The watchers of this host.
#[derive(Default)]
pub(super) struct Watchers {
    senders: Mutex<Vec<Sender<Arc<Seen>>>>,
    amount: Arc<AtomicUsize>,
}

/// What a watcher sees. Dropped, it is told nothing more.
pub(crate) struct Watch {
    seen: Receiver<Arc<Seen>>,
    amount: Arc<AtomicUsize>,
}

impl Watchers {
    /// Whether somebody looks: all that a job costs when nobody does.
    pub(super) fn are_there(&self) -> bool {
        self.amount.load(Ordering::Relaxed) > 0
    }

    pub(super) fn watch(&self) -> Watch {
        let (sender, seen) = mpsc::channel(BEHIND_MAX);
        locked(&self.senders).push(sender);
        self.amount.fetch_add(1, Ordering::Relaxed);
        let amount = Arc::clone(&self.amount);
        Watch { seen, amount }
    }

    pub(super) fn tell(
        &self,
        job: &Which<'_>,
        state: &'static str,
        took: Option<Duration>,
        error: &[u8],
    ) {
        let news = News {
            at: Timestamp::now(),
            id: job.id,
            kind: job.kind,
            queue: job.queue,
            attempt: job.attempt,
            state,
            took_ms: took.map(|took| took.as_secs_f64() * 1_000.0),
            error: serde_json::from_slice(error).unwrap_or_default(),
        };
        let seen = Arc::new(Seen {
            kind: job.kind.to_owned(),
            queue: job.queue.to_owned(),
            state,
            json: serde_json::to_string(&news).unwrap_or_default(),
        });
        locked(&self.senders).retain_mut(|sender| {
            let sent = sender.try_send(Arc::clone(&seen));
            !sent.is_err_and(|error| error.is_disconnected())
        });
    }
}

impl Stream for Watch {
    type Item = Arc<Seen>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.seen.poll_next_unpin(task)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.amount.fetch_sub(1, Ordering::Relaxed);
    }
}

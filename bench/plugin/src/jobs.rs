//! Jobs that do nothing but count themselves, and what the benchmark asks about them.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use nself_plugin_api::{
    futures_util::{
        future::{self, Either},
        task::AtomicWaker,
    },
    http::StatusCode,
    jiff::Timestamp,
    prelude::*,
    serde_json::{Value, json},
};

use crate::Bench;

/// How long a job of `keyed` runs: long enough to meet another one of its key.
const KEYED_RUNS: Duration = Duration::from_millis(1);

/// How long a question for the end waits before it is asked again.
const PATIENCE: Duration = Duration::from_secs(5);

/// What has run.
#[derive(Default)]
pub(crate) struct Ledger {
    done: AtomicU64,
    expected: AtomicU64,
    reached: AtomicWaker,
    starts: Mutex<Vec<(u64, i64)>>,
    keys: Mutex<HashMap<String, usize>>,
    most_of_a_key: AtomicUsize,
}

impl Ledger {
    fn count(&self) {
        let done = self.done.fetch_add(1, Ordering::AcqRel) + 1;
        if done == self.expected.load(Ordering::Acquire) {
            self.reached.wake();
        }
    }

    fn is_reached(&self) -> bool {
        self.done.load(Ordering::Acquire) >= self.expected.load(Ordering::Acquire)
    }

    fn starts(&self) -> MutexGuard<'_, Vec<(u64, i64)>> {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts.
pub(crate) async fn nothing(cx: Cx<Bench>, _: JobRun) -> Result<()> {
    cx.plugin().ledger.count();
    Ok(())
}

/// Writes down when it began.
pub(crate) async fn timed(cx: Cx<Bench>, job: JobRun) -> Result<()> {
    let now = Timestamp::now().as_microsecond();
    let number = job.json::<Value>()?["n"].as_u64().unwrap_or_default();
    cx.plugin().ledger.starts().push((number, now));
    cx.plugin().ledger.count();
    Ok(())
}

/// Writes down how many of its key run.
pub(crate) async fn keyed(cx: Cx<Bench>, job: JobRun) -> Result<()> {
    let ledger = &cx.plugin().ledger;
    let key = job.json::<Value>()?["key"].to_string();
    let running = {
        let mut keys = ledger.keys();
        let running = keys.entry(key.clone()).or_default();
        *running += 1;
        *running
    };
    ledger.most_of_a_key.fetch_max(running, Ordering::AcqRel);
    cx.clock().sleep(KEYED_RUNS).await?;
    if let Some(running) = ledger.keys().get_mut(&key) {
        *running -= 1;
    }
    ledger.count();
    Ok(())
}

/// Begins to count anew.
pub(crate) async fn expect(cx: Cx<Bench>, Path(jobs): Path<u64>) -> Result<NoContent> {
    let ledger = &cx.plugin().ledger;
    ledger.done.store(0, Ordering::Release);
    ledger.expected.store(jobs, Ordering::Release);
    ledger.starts().clear();
    ledger.most_of_a_key.store(0, Ordering::Release);
    Ok(NoContent)
}

/// Whether all expected jobs have run; it waits for them, but not for long.
pub(crate) async fn done(cx: Cx<Bench>) -> Result<Response> {
    let ledger = &cx.plugin().ledger;
    let reached = poll_fn(|task| {
        ledger.reached.register(task.waker());
        if ledger.is_reached() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    let clock = cx.clock();
    let late = std::pin::pin!(clock.sleep(PATIENCE));
    let is_done = matches!(future::select(reached, late).await, Either::Left(_));
    Ok(answer(&json!(is_done)))
}

/// Numbers and starts (microseconds since 1970) of the timed jobs since the last question, and the most of one key that ran
/// at a time.
pub(crate) async fn ledger(cx: Cx<Bench>) -> Result<Response> {
    let ledger = &cx.plugin().ledger;
    let starts = std::mem::take(&mut *ledger.starts());
    let most = ledger.most_of_a_key.load(Ordering::Acquire);
    Ok(answer(&json!({"starts": starts, "most_of_a_key": most})))
}

fn answer(value: &Value) -> Response {
    Response::new(StatusCode::OK, value.to_string()).content_type("application/json")
}

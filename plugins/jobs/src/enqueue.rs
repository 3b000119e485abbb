//! Enqueueing over this host: jobs that arrive while a commit is under way share the next one, and a host that has nothing else
//! to do begins them when they are committed, without a claim.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_channel::oneshot;
use nself_plugin_api::{
    bytes::Bytes,
    futures_util::future,
    prelude::*,
    serde_json::value::{RawValue, to_raw_value},
    tracing::debug,
    wake::Wake,
};
use serde::{Deserialize, Serialize};

use crate::{
    Jobs,
    engine::{Job, Lease},
    error::refused,
    store::{self, claim::Holder, enqueue::Receipt},
};

/// Most jobs of one commit.
const SHARED_MAX: usize = 1_000;

/// A commit waits for company for a quarter of the time that the last one took, within these: no timer is shorter than the first.
const GATHER: Duration = Duration::from_millis(1);
const GATHER_MAX: Duration = Duration::from_millis(10);
/// Commits that do not wait, at most, after some that have waited in vain.
const HURRIED_MAX: u32 = 64;

/// A job to be enqueued. What stands in `options` is read by the database, the one place that knows them.
#[derive(Debug, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewJob {
    /// What it is.
    pub kind: String,
    /// Its input.
    #[serde(default)]
    payload: Option<Box<RawValue>>,
    /// How it is worked.
    #[serde(default)]
    options: Option<Box<RawValue>>,
}

impl NewJob {
    /// A job of that kind.
    ///
    /// # Errors
    ///
    /// When the two do not become JSON.
    pub(crate) fn of(
        kind: String,
        payload: &impl Serialize,
        options: &impl Serialize,
    ) -> Result<Self> {
        Ok(Self {
            kind,
            payload: Some(to_raw_value(payload).map_err(Error::internal)?),
            options: Some(to_raw_value(options).map_err(Error::internal)?),
        })
    }

    /// The input as text, an empty object when there is none.
    pub(crate) fn payload(&self) -> &[u8] {
        self.payload
            .as_ref()
            .map_or(b"{}", |payload| payload.get().as_bytes())
    }

    /// The options as text, nothing when there are none.
    pub(crate) fn options(&self) -> &[u8] {
        self.options
            .as_ref()
            .map_or(b"", |options| options.get().as_bytes())
    }

    fn is_plain(&self) -> bool {
        self.options.is_none() && self.payload().len() <= 1_500
    }
}

type Waiting = (NewJob, oneshot::Sender<Result<Receipt>>);

/// Jobs that wait for the next commit.
#[derive(Default)]
pub(crate) struct Enqueuer {
    waiting: Mutex<Queue>,
    gathered: Wake,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Waiting>,
    is_led: bool,
    /// As many are expected.
    expected: usize,
    /// Commits that do not wait, and how many there will be after the next one that has waited in vain.
    hurried: u32,
    hurried_next: u32,
}

impl Enqueuer {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Enqueues a job; resolves when it is committed.
pub(crate) async fn one(cx: &Cx<Jobs>, job: NewJob) -> Result<Receipt> {
    let (sender, receiver) = oneshot::channel();
    let is_leader = {
        let mut queue = cx.plugin().enqueuer.queue();
        queue.jobs.push((job, sender));
        if queue.jobs.len() == queue.expected {
            cx.plugin().enqueuer.gathered.wake();
        }
        !std::mem::replace(&mut queue.is_led, true)
    };
    if is_leader {
        // As work of its own: a caller that goes away must not leave the others behind.
        let leader = cx.clone();
        cx.tasks().spawn("enqueue", async move {
            lead(&leader).await;
            Ok(())
        })?;
    }
    receiver.await.unwrap_or_else(|_| {
        Err(Error::unavailable(
            "JOBS_STOPPING",
            "jobs are not taken while the plugin ends",
            Duration::from_secs(1),
        ))
    })
}

/// Commits what waits, until nothing does.
async fn lead(cx: &Cx<Jobs>) {
    loop {
        let jobs = {
            let mut queue = cx.plugin().enqueuer.queue();
            if queue.jobs.is_empty() {
                queue.is_led = false;
                return;
            }
            let amount = queue.jobs.len().min(SHARED_MAX);
            queue.jobs.drain(..amount).collect::<Vec<_>>()
        };
        let (amount, begun) = (jobs.len(), Instant::now());
        commit(cx, jobs).await;
        gather(cx, amount, begun.elapsed()).await;
    }
}

/// Waits a moment for callers that were answered together: they are likely to come again together. Without it they come while the
/// next commit is under way, a few at a time, and commits become as many as they can be and as small.
///
/// Where a commit takes long, it waits for all of them. Where it does not, it waits for half of those that come and go: while that
/// half is committed, the other half can be answered and come again, so that neither the database nor this host is idle. A wait in
/// vain costs who has come: then it is not tried for a while.
async fn gather(cx: &Cx<Jobs>, answered: usize, took: Duration) {
    let enqueuer = &cx.plugin().enqueuer;
    if answered < 2 {
        return;
    }
    let is_slow = took >= GATHER * 2;
    {
        let mut queue = enqueuer.queue();
        let all = answered + queue.jobs.len();
        let expected = if is_slow { all } else { all.div_ceil(2) }.min(SHARED_MAX);
        if queue.jobs.len() >= expected {
            return;
        }
        if !is_slow && queue.hurried > 0 {
            queue.hurried -= 1;
            return;
        }
        queue.expected = expected;
    }
    let patience = (took / 4).clamp(GATHER, GATHER_MAX);
    let clock = cx.clock();
    future::select(pin!(enqueuer.gathered.wait()), pin!(clock.sleep(patience))).await;
    enqueuer.queue().gathered();
}

impl Queue {
    /// After a wait.
    fn gathered(&mut self) {
        if self.jobs.len() >= self.expected {
            self.hurried_next = 1;
        } else {
            self.hurried = self.hurried_next;
            self.hurried_next = (self.hurried_next * 2).clamp(1, HURRIED_MAX);
        }
        self.expected = 0;
    }
}

async fn commit(cx: &Cx<Jobs>, jobs: Vec<Waiting>) {
    let news: Vec<&NewJob> = jobs.iter().map(|(job, _)| job).collect();
    let receipts = match hand_off(cx, &news).await {
        Ok(Some(receipts)) => Ok(receipts),
        Ok(None) => store::enqueue::submit_many(&cx.db(), &news).await,
        Err(error) => Err(error),
    };
    match receipts {
        Ok(receipts) => {
            for ((_, sender), receipt) in jobs.into_iter().zip(receipts) {
                // A caller that is gone has its job all the same.
                let _ = sender.send(Ok(receipt));
            }
        }
        Err(error) if jobs.len() == 1 || error.status() == 503 => {
            let error = refused(error);
            for (_, sender) in jobs {
                let _ = sender.send(Err(error.clone()));
            }
        }
        Err(error) => {
            debug!(error = %error, "one of several jobs is refused: each on its own");
            for (job, sender) in jobs {
                let receipt = store::enqueue::submit_many(&cx.db(), &[&job]).await;
                let _ = sender.send(receipt.map_err(refused).and_then(first));
            }
        }
    }
}

fn first(receipts: Vec<Receipt>) -> Result<Receipt> {
    let first = receipts.into_iter().next();
    first.ok_or_else(|| Error::new(500, "INTERNAL", "a job was not enqueued"))
}

/// Enqueues plain jobs as leased to this host when it has room and nothing else to do; none when they take the usual way.
async fn hand_off(cx: &Cx<Jobs>, jobs: &[&NewJob]) -> Result<Option<Vec<Receipt>>> {
    let engine = &cx.plugin().engine;
    let Some(host) = engine.host() else {
        return Ok(None);
    };
    let may_begin = |job: &&NewJob| job.is_plain() && engine.may_begin(&job.kind, jobs.len());
    if !jobs.iter().all(may_begin) {
        return Ok(None);
    }
    let kinds: Vec<&str> = jobs.iter().map(|job| &*job.kind).collect();
    let payloads: Vec<&[u8]> = jobs.iter().map(|job| job.payload()).collect();
    let holder = Holder::new(host);
    let leased = store::claim::submit_leased(&cx.db(), holder, &kinds, &payloads).await;
    let Some(leased) = leased.inspect_err(|_| engine.doubt(holder))? else {
        return Ok(None);
    };
    let receipts = leased.jobs.iter().map(|job| Receipt {
        id: job.0,
        status: "enqueued".to_owned(),
    });
    let receipts = receipts.collect();
    let begun: Vec<Job> = jobs
        .iter()
        .zip(&leased.jobs)
        .map(|(new, (id, attempts_max))| Job {
            id: *id,
            attempt: 1,
            attempts_max: *attempts_max,
            kind: Arc::from(&*new.kind),
            family_id: None,
            has_key: false,
            meta: Bytes::new(),
            payload: Bytes::copy_from_slice(new.payload()),
        })
        .collect();
    let lease = Lease::new(leased.lease, (leased.queue, leased.queue_name), &begun);
    engine.take(lease, begun);
    Ok(Some(receipts))
}

/// Enqueues jobs in one transaction: all or none.
pub(crate) async fn many(cx: &Cx<Jobs>, jobs: &[NewJob]) -> Result<Vec<Receipt>> {
    let jobs: Vec<&NewJob> = jobs.iter().collect();
    store::enqueue::submit_many(&cx.db(), &jobs)
        .await
        .map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_waits_in_vain_more_and_more_commits_do_not_wait_and_after_a_good_one_few() {
        let mut queue = Queue {
            expected: 5,
            ..Queue::default()
        };
        let mut hurried = Vec::new();
        for _ in 0..9 {
            queue.expected = 5;
            queue.gathered();
            hurried.push(queue.hurried);
        }
        assert_eq!(hurried, [0, 1, 2, 4, 8, 16, 32, 64, 64]);
        queue.expected = 0;
        queue.gathered();
        assert_eq!(queue.hurried_next, 1);
    }
}

//! Writes that share a commit: what comes while one is under way is written together by the next.

use std::{
    marker::PhantomData,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_channel::oneshot;
use nself_plugin_api::{
    futures_util::future,
    prelude::{Cx, Error, Result},
    tracing::debug,
    wake::Wake,
};

use crate::Orchestrator;

/// Most writes of one commit, and the most bytes of one that waits for company.
const SHARED_MAX: usize = 200;
const SHARED_BYTES_MAX: usize = 64 << 10;

/// A commit waits for company for a quarter of the time that the last one took, within these: no timer is shorter than the first.
const PATIENCE: Duration = Duration::from_millis(1);
const PATIENCE_MAX: Duration = Duration::from_millis(10);
/// Commits that do not wait, at most, after some that have waited in vain.
const HURRIED_MAX: u32 = 64;

/// Something that is written together with others of its kind.
pub(crate) trait Shared: Send + Sync + Sized + 'static {
    /// What whoever wants it written hears.
    type Outcome: Send + 'static;

    /// Where it waits.
    fn gatherer(plugin: &Orchestrator) -> &Gatherer<Self>;

    /// Roughly how large it is.
    fn bytes(&self) -> usize;

    /// Writes several in one transaction: all or none. An outcome for each, in order.
    fn write(
        cx: &Cx<Orchestrator>,
        all: &[&Self],
    ) -> impl Future<Output = Result<Vec<Self::Outcome>>> + Send;
}

type Waiting<T> = (T, oneshot::Sender<Result<<T as Shared>::Outcome>>);

/// Writes that wait for the next commit.
pub(crate) struct Gatherer<T: Shared> {
    waiting: Mutex<Queue<T>>,
    gathered: Wake,
}

impl<T: Shared> Default for Gatherer<T> {
    fn default() -> Self {
        Self {
            waiting: Mutex::new(Queue {
                writes: Vec::new(),
                is_led: false,
                pace: Pace::default(),
            }),
            gathered: Wake::default(),
        }
    }
}

struct Queue<T: Shared> {
    writes: Vec<Waiting<T>>,
    is_led: bool,
    pace: Pace,
}

/// Whether the next commit waits for company.
#[derive(Debug, Default)]
struct Pace {
    /// As many are expected.
    expected: usize,
    /// Commits that do not wait, and how many there will be after the next one that has waited in vain.
    hurried: u32,
    hurried_next: u32,
}

impl<T: Shared> Gatherer<T> {
    fn queue(&self) -> MutexGuard<'_, Queue<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes it with whatever else comes; resolves when it is committed.
///
/// # Errors
///
/// Those of the database: it is not written then, unless the connection broke during the commit.
pub(crate) async fn share<T: Shared>(cx: &Cx<Orchestrator>, one: T) -> Result<T::Outcome> {
    if one.bytes() > SHARED_BYTES_MAX {
        return alone(cx, &one).await;
    }
    let gatherer = T::gatherer(cx.plugin());
    let (sender, receiver) = oneshot::channel();
    let is_leader = {
        let mut queue = gatherer.queue();
        queue.writes.push((one, sender));
        if queue.writes.len() == queue.pace.expected {
            gatherer.gathered.wake();
        }
        !std::mem::replace(&mut queue.is_led, true)
    };
    if is_leader {
        // As work of its own: a caller that goes away must not leave the others behind.
        let lead = Lead::<T>::of(cx);
        cx.tasks().spawn("write", async move {
            lead.write().await;
            Ok(())
        })?;
    }
    receiver.await.unwrap_or_else(|_| {
        Err(Error::unavailable(
            "PLUGIN_STOPPING",
            "nothing is taken while the plugin ends",
            Duration::from_secs(1),
        ))
    })
}

async fn alone<T: Shared>(cx: &Cx<Orchestrator>, one: &T) -> Result<T::Outcome> {
    let outcomes = T::write(cx, &[one]).await?;
    let first = outcomes.into_iter().next();
    first.ok_or_else(|| {
        Error::new(500, "INTERNAL", "something went wrong on our side")
            .with_cause("a write has no outcome")
    })
}

/// Whoever commits for all. However that ends, the next who comes takes its place.
struct Lead<T: Shared> {
    cx: Cx<Orchestrator>,
    is_over: bool,
    of: PhantomData<T>,
}

impl<T: Shared> Drop for Lead<T> {
    fn drop(&mut self) {
        if !self.is_over {
            T::gatherer(self.cx.plugin()).queue().is_led = false;
        }
    }
}

impl<T: Shared> Lead<T> {
    fn of(cx: &Cx<Orchestrator>) -> Self {
        Self {
            cx: cx.clone(),
            is_over: false,
            of: PhantomData,
        }
    }

    /// Commits what waits, until nothing does.
    async fn write(mut self) {
        while let Some(writes) = self.next() {
            let (amount, begun) = (writes.len(), Instant::now());
            commit(&self.cx, writes).await;
            gather::<T>(&self.cx, amount, begun.elapsed()).await;
        }
    }

    fn next(&mut self) -> Option<Vec<Waiting<T>>> {
        let mut queue = T::gatherer(self.cx.plugin()).queue();
        if queue.writes.is_empty() {
            queue.is_led = false;
            self.is_over = true;
            return None;
        }
        let amount = queue.writes.len().min(SHARED_MAX);
        Some(queue.writes.drain(..amount).collect())
    }
}

async fn commit<T: Shared>(cx: &Cx<Orchestrator>, writes: Vec<Waiting<T>>) {
    let all: Vec<&T> = writes.iter().map(|(one, _)| one).collect();
    let written = T::write(cx, &all).await;
    match written {
        Ok(outcomes) => {
            for ((_, sender), outcome) in writes.into_iter().zip(outcomes) {
                // What a caller that is gone wanted is written all the same.
                let _ = sender.send(Ok(outcome));
            }
        }
        Err(error) if writes.len() == 1 || error.status() == 503 => {
            for (_, sender) in writes {
                let _ = sender.send(Err(error.clone()));
            }
        }
        Err(error) => {
            debug!(error = %error, "one of several writes is refused: each on its own");
            for (one, sender) in writes {
                let _ = sender.send(alone(cx, &one).await);
            }
        }
    }
}

/// Waits a moment for callers that were answered together: they are likely to come again together. Without it they come while the
/// next commit is under way, a few at a time, and commits become as many as they can be and as small.
///
/// Where a commit takes long, it waits for all of them. Where it does not, it waits for half of those that come and go: while that
/// half is committed, the other half can be answered and come again, so that neither the database nor this host is idle. A wait in
/// vain costs who has come: then it is not tried for a while.
async fn gather<T: Shared>(cx: &Cx<Orchestrator>, answered: usize, took: Duration) {
    let gatherer = T::gatherer(cx.plugin());
    {
        let mut queue = gatherer.queue();
        let waiting = queue.writes.len();
        if !queue.pace.waits(answered, waiting, took) {
            return;
        }
    }
    let patience = (took / 4).clamp(PATIENCE, PATIENCE_MAX);
    let clock = cx.clock();
    future::select(pin!(gatherer.gathered.wait()), pin!(clock.sleep(patience))).await;
    let mut queue = gatherer.queue();
    let waiting = queue.writes.len();
    queue.pace.gathered(waiting);
}

impl Pace {
    /// Whether it is worth to wait for more than those that wait already.
    fn waits(&mut self, answered: usize, waiting: usize, took: Duration) -> bool {
        if answered < 2 {
            return false;
        }
        let is_slow = took >= PATIENCE * 2;
        let all = answered + waiting;
        let expected = if is_slow { all } else { all.div_ceil(2) }.min(SHARED_MAX);
        if waiting >= expected {
            return false;
        }
        if !is_slow && self.hurried > 0 {
            self.hurried -= 1;
            return false;
        }
        self.expected = expected;
        true
    }

    /// After a wait.
    fn gathered(&mut self, waiting: usize) {
        if waiting >= self.expected {
            self.hurried_next = 1;
        } else {
            self.hurried = self.hurried_next;
            self.hurried_next = (self.hurried_next * 2).clamp(1, HURRIED_MAX);
        }
        self.expected = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWIFT: Duration = Duration::from_micros(300);
    const SLOW: Duration = Duration::from_millis(5);

    #[test]
    fn one_alone_waits_for_nobody_and_a_slow_commit_waits_for_all_who_were_answered() {
        for (answered, waiting, took, expected) in [
            (1, 0, SWIFT, None),
            (1, 3, SLOW, None),
            (8, 0, SWIFT, Some(4)),
            (8, 8, SWIFT, None),
            (8, 2, SLOW, Some(10)),
            (SHARED_MAX, SHARED_MAX, SLOW, None),
        ] {
            let mut pace = Pace::default();
            let waits = pace.waits(answered, waiting, took);
            let said = waits.then_some(pace.expected);
            assert_eq!(said, expected, "{answered} {waiting} {took:?}");
        }
    }

    #[test]
    fn after_waits_in_vain_more_and_more_commits_do_not_wait_and_after_a_good_one_few() {
        let mut pace = Pace::default();
        let mut hurried = Vec::new();
        for _ in 0..9 {
            pace.hurried = 0;
            assert!(pace.waits(8, 0, SWIFT));
            pace.gathered(0);
            hurried.push(pace.hurried);
        }
        assert_eq!(hurried, [0, 1, 2, 4, 8, 16, 32, 64, 64]);
        pace.hurried = 0;
        assert!(pace.waits(8, 0, SWIFT));
        pace.gathered(4);
        assert_eq!(pace.hurried_next, 1);
    }
}

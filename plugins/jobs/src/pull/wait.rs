//! Looking for jobs, and waiting for them: woken when one is committed, with a few looks before that and none after.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use nself_plugin_api::{
    futures_util::future::{self, Either},
    prelude::*,
    uuid::Uuid,
};

use crate::{
    Jobs,
    engine::{BUSY_PAUSE, PullQueue, probe},
    error::JobError,
    store::{
        self,
        claim::Status,
        pull::{Fetch, NoPull, Wish},
    },
};

/// How long a worker that does not want to wait is held up by another host's claim.
const BUSY_MAX: Duration = Duration::from_secs(1);

/// Jobs, as soon as there are some; none after `wait`, or when the plugin ends.
pub(super) async fn fetch(cx: &Cx<Jobs>, wish: &Wish<'_>, wait: Duration) -> Result<Option<Fetch>> {
    let queue = cx.plugin().engine.pulls.queue(wish.queue);
    let since = Instant::now();
    loop {
        let found = look(cx, &queue, wish, None).await?;
        if !found.jobs.is_empty() {
            return Ok(Some(found));
        }
        if found.status != Status::Busy || since.elapsed() >= BUSY_MAX {
            break;
        }
        cx.clock().sleep(BUSY_PAUSE).await?;
    }
    if wait.is_zero() {
        return Ok(None);
    }
    await_jobs(cx, &queue, wish, wait.saturating_sub(since.elapsed())).await
}

async fn await_jobs(
    cx: &Cx<Jobs>,
    queue: &PullQueue,
    wish: &Wish<'_>,
    wait: Duration,
) -> Result<Option<Fetch>> {
    let (clock, tasks) = (cx.clock(), cx.tasks());
    // A look is not broken off when this comes: what it has fetched would be held by nobody.
    let (late, draining) = (pin!(clock.sleep(wait)), pin!(tasks.draining()));
    let mut over = future::select(late, draining);
    let Either::Left((_head, _)) = future::select(queue.head.lock(), &mut over).await else {
        return Ok(None);
    };
    let _asleep = queue.fall_asleep();
    let mut empty = 0;
    loop {
        let found = look(cx, queue, wish, cx.plugin().engine.host()).await?;
        if !found.jobs.is_empty() {
            return Ok(Some(found));
        }
        let pause = match found.status {
            Status::Busy => Some(BUSY_PAUSE),
            Status::Taken => {
                empty += 1;
                probe(empty - 1)
            }
            // Whoever lets it go on rings, or a job that ends.
            Status::Paused | Status::Limited => None,
        };
        let own = cx.clock().now()?;
        let due = found.next_at.map(|at| cx.plugin().engine.until(at, own));
        let pause = [pause, due].into_iter().flatten().min();
        let rung = pin!(queue.bell.wait());
        let late = pin!(async {
            match pause {
                Some(pause) => _ = clock.sleep(pause).await,
                None => future::pending().await,
            }
        });
        if let Either::Left(_) = future::select(&mut over, future::select(rung, late)).await {
            return Ok(None);
        }
    }
}

async fn look(
    cx: &Cx<Jobs>,
    queue: &PullQueue,
    wish: &Wish<'_>,
    sleeper: Option<Uuid>,
) -> Result<Fetch> {
    let mut place = queue.place.lock().await;
    place.begin(Instant::now(), false);
    match store::pull::fetch(&cx.db(), wish, &mut place, sleeper).await? {
        Ok(found) => {
            queue.learn(found.queue, found.has_limits);
            let now = cx.plugin().engine.now(cx);
            let observed = &cx.plugin().observed;
            for (_, job) in &found.jobs {
                observed.kind(cx, &job.kind).begin(job, now);
                observed.fetched(job, wish.queue);
            }
            Ok(found)
        }
        Err(reason) => {
            cx.plugin().engine.pulls.forget(wish.queue);
            let queue = wish.queue.to_owned();
            Err(match reason {
                NoPull::Unknown => JobError::UnknownQueue { name: queue },
                NoPull::OfHosts => JobError::QueueOfHosts { queue },
            }
            .into())
        }
    }
}

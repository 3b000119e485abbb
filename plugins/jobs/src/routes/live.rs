//! What happens now: totals, and a stream of what jobs do.

use std::time::Duration;

use nself_plugin_api::{
    futures_util::{
        Stream, StreamExt,
        future::{self, Either},
        stream,
    },
    prelude::*,
};
use serde::{Deserialize, Serialize};

use crate::{Jobs, store};

/// Pause after which a silent stream says that it is there.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// All queues together, and this host.
#[derive(Debug, Default, Serialize, Schema)]
pub(crate) struct Stats {
    /// May run now. Counted to 10,000 for each queue, like the others.
    pub available: i64,
    /// Wait for their time.
    pub scheduled: i64,
    /// Have failed, and wait for their next attempt.
    pub retryable: i64,
    /// Run.
    pub running: i64,
    /// Were given up.
    pub discarded: i64,
    /// Age of the oldest available one.
    pub oldest_seconds: Option<f64>,
    /// Queues that are paused.
    pub paused_queues: usize,
    /// Jobs that run on the host that answers.
    pub running_here: usize,
    /// Jobs that it may run at a time.
    pub places_here: usize,
}

/// What of it is told.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Only {
    /// Jobs of that kind.
    pub kind: Option<String>,
    /// Jobs of that queue.
    pub queue: Option<String>,
}

pub(crate) async fn stats(cx: Cx<Jobs>) -> Result<Data<Stats>> {
    let engine = &cx.plugin().engine;
    let mut stats = Stats {
        running_here: engine.running(),
        places_here: engine.places,
        ..Stats::default()
    };
    for queue in store::queues::all(&cx.db(), None).await? {
        stats.available += queue.available;
        stats.scheduled += queue.scheduled;
        stats.retryable += queue.retryable;
        stats.running += queue.running;
        stats.discarded += queue.discarded;
        let ages = stats.oldest_seconds.into_iter().chain(queue.oldest_seconds);
        stats.oldest_seconds = ages.reduce(f64::max);
        stats.paused_queues += usize::from(queue.paused_at.is_some());
    }
    Ok(Data(stats))
}

/// What the jobs of this host do from now on.
pub(crate) async fn tail(
    cx: Cx<Jobs>,
    Query(only): Query<Only>,
) -> Result<Sse<impl Stream<Item = Result<SseEvent>> + Send + 'static>> {
    let seen = cx.plugin().observed.watch();
    let news = stream::unfold((cx, seen, only), async |(cx, mut seen, only)| {
        loop {
            let (tasks, clock) = (cx.tasks(), cx.clock());
            let ends = std::pin::pin!(tasks.draining());
            let silent = std::pin::pin!(clock.sleep(SILENCE_MAX));
            let news = future::select(seen.next(), silent);
            let event = match future::select(ends, news).await {
                Either::Left(_) | Either::Right((Either::Left((None, _)), _)) => return None,
                Either::Right((Either::Right(_), _)) => SseEvent::comment("nothing yet"),
                Either::Right((Either::Left((Some(news), _)), _)) => {
                    let is_wanted = only.kind.as_ref().is_none_or(|kind| *kind == news.kind)
                        && only.queue.as_ref().is_none_or(|queue| *queue == news.queue);
                    if !is_wanted {
                        continue;
                    }
                    SseEvent::data(&news.json).event(news.state)
                }
            };
            let cx = cx.clone();
            return Some((Ok(event), (cx, seen, only)));
        }
    });
    Ok(Sse(news))
}

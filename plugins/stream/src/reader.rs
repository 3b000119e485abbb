//! Reads the log: what came behind the position of each channel that somebody on this host is subscribed to. It looks when it is
//! woken and every second, so a wake-up that is lost costs a second and nothing else; where nobody can wake it, more often.
//!
//! Before it sleeps it leaves a mark, by which writers know that they have to wake it. As long as publications come one at a time the mark
//! stays, and each costs one look; only where one look finds something right after the other it is taken away.

use std::{pin::pin, time::Duration};

use nself_plugin_api::{
    futures_util::{
        FutureExt,
        future::{Either, select},
    },
    prelude::*,
    tracing::warn,
};

use crate::{Stream, config::Wakeup, store};

/// How long a reader sleeps at most.
const SWEEP: Duration = Duration::from_secs(1);
/// Shortest and longest pause between two looks while there is something to read: what comes in it is read together.
const BREATH: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(5));
/// The pause is so many times as long as the look was, so that a fifth of the time at most is spent in asking.
const BREATH_OF_LOOK: u32 = 4;
/// Publications of a channel that are read at a time.
const STEP: i64 = 500;

/// Reads until the plugin stops.
pub(crate) async fn follow(cx: &Cx<Stream>) -> Result<()> {
    let mut mark = Mark(None);
    let mut is_busy = false;
    loop {
        let begun = cx.clock().monotonic()?;
        if tried(look(cx).await) {
            let looked = cx.clock().monotonic()?.saturating_sub(begun);
            if is_busy {
                mark.take_away(cx).await?;
            }
            let breath = looked.saturating_mul(BREATH_OF_LOOK);
            cx.clock().sleep(breath.clamp(BREATH.0, BREATH.1)).await?;
            let is_rung = cx.plugin().hub.bell.wait().now_or_never().is_some();
            is_busy = is_rung || mark.left(cx)?.is_zero();
            if is_busy {
                continue;
            }
        } else {
            is_busy = false;
            // What was written before the mark woke nobody.
            if mark.left(cx)?.is_zero() && tried(mark.set(cx).await) {
                continue;
            }
        }
        let left = mark.left(cx)?;
        let clock = cx.clock();
        let slept = pin!(clock.sleep(if left.is_zero() { pause(cx) } else { left }));
        let woken = pin!(cx.plugin().hub.bell.wait());
        if let Either::Left((slept, _)) = select(slept, woken).await {
            slept?;
        }
    }
}

/// How long it sleeps at most. Who asks instead of being woken sleeps no longer than that.
fn pause(cx: &Cx<Stream>) -> Duration {
    let config = &cx.plugin().config;
    match config.wakeup {
        Wakeup::Notify => SWEEP,
        Wakeup::Poll => Duration::from_millis(config.poll_ms.into()),
    }
}

/// What says that this host sleeps: when it was set, by a clock that never goes back.
struct Mark(Option<Duration>);

impl Mark {
    /// How long writers will still heed it, at least.
    fn left(&self, cx: &Cx<Stream>) -> Result<Duration> {
        let Some(set) = self.0 else {
            return Ok(Duration::ZERO);
        };
        let passed = cx.clock().monotonic()?.saturating_sub(set);
        Ok(SWEEP.saturating_sub(passed))
    }

    /// Whether it was set: nobody needs to be woken who listens to nothing, or asks by itself.
    async fn set(&mut self, cx: &Cx<Stream>) -> Result<bool> {
        let is_woken = cx.plugin().config.wakeup == Wakeup::Notify;
        if !is_woken || cx.plugin().hub.positions().0.is_empty() {
            return Ok(false);
        }
        let now = cx.clock().monotonic()?;
        store::log::wait(&cx.db(), cx.plugin().node).await?;
        self.0 = Some(now);
        Ok(true)
    }

    async fn take_away(&mut self, cx: &Cx<Stream>) -> Result<()> {
        if self.0.take().is_some() {
            store::log::stop_waiting(&cx.db(), cx.plugin().node).await?;
        }
        Ok(())
    }
}

/// Whether that came to something. What failed is tried again after the pause.
fn tried(outcome: Result<bool>) -> bool {
    outcome.unwrap_or_else(|error| {
        warn!(%error, "the log cannot be read");
        false
    })
}

/// Delivers what is new; whether there was anything.
async fn look(cx: &Cx<Stream>) -> Result<bool> {
    let hub = &cx.plugin().hub;
    let (ids, offsets) = hub.positions();
    if ids.is_empty() {
        return Ok(false);
    }
    let news = store::log::news(&cx.db(), ids, offsets, STEP).await?;
    let is_news = !news.is_empty();
    let mut news = news.into_iter().peekable();
    let mut batch = Vec::new();
    while let Some(one) = news.next() {
        match one.publication {
            Some(publication) => batch.push(publication),
            None => hub.lose(one.channel_id),
        }
        // Those of a channel come one after the other.
        let next = news.peek();
        if next.is_none_or(|next| next.channel_id != one.channel_id) {
            hub.deliver(one.channel_id, &batch);
            batch.clear();
        }
    }
    Ok(is_news)
}

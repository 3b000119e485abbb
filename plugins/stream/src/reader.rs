//! Reads the log: what came behind the position of each channel that somebody on this host is subscribed to. It looks when it is
//! woken and every second, so a wake-up that is lost costs a second and nothing else; where nobody can wake it, more often.
//!
//! Before it sleeps it leaves a mark, by which writers know that they have to wake it. As long as publications come one at a time the mark
//! stays, and each costs one look, which is made at once. Where more come while it looks, it pauses before it looks again, and where one look
//! finds something right after the other the mark is taken away.

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
const STEP: u16 = 500;

/// Reads until the plugin stops.
pub(crate) async fn follow(cx: &Cx<Stream>) -> Result<()> {
    let mut mark = Mark(None);
    let mut is_busy = false;
    loop {
        let begun = cx.clock().monotonic()?;
        let found = look(cx).await.unwrap_or_else(|error| {
            // It is tried again after the pause.
            warn!(%error, "the log cannot be read");
            Found::Nothing
        });
        let is_news = found == Found::All;
        if found == Found::More || is_news && (is_busy || is_rung(cx)) {
            let looked = cx.clock().monotonic()?.saturating_sub(begun);
            if is_busy {
                mark.take_away(cx).await?;
            }
            let breath = looked.saturating_mul(BREATH_OF_LOOK);
            cx.clock().sleep(breath.clamp(BREATH.0, BREATH.1)).await?;
            // Whatever it was rung for until now, the next look finds.
            let _ = is_rung(cx);
            is_busy = true;
            continue;
        }
        is_busy = false;
        // What was written before the mark woke nobody.
        if mark.left(cx)?.is_zero() {
            match mark.set(cx).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => warn!(%error, "writers cannot be told to wake this host"),
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

/// Whether it was rung for since this was asked last.
fn is_rung(cx: &Cx<Stream>) -> bool {
    cx.plugin().hub.bell.wait().now_or_never().is_some()
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

/// What a look at the log has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// All that there was.
    All,
    /// As much as is read of a channel at a time, so there may be more.
    More,
}

/// Delivers what is new.
async fn look(cx: &Cx<Stream>) -> Result<Found> {
    let hub = &cx.plugin().hub;
    let (ids, offsets) = hub.positions();
    if ids.is_empty() {
        return Ok(Found::Nothing);
    }
    let news = store::log::news(&cx.db(), ids, offsets, STEP.into()).await?;
    let mut found = if news.is_empty() {
        Found::Nothing
    } else {
        Found::All
    };
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
            if batch.len() >= usize::from(STEP) {
                found = Found::More;
            }
            batch.clear();
        }
    }
    Ok(found)
}

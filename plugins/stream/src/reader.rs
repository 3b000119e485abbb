//! Reads the log: what came behind the position of each channel that somebody on this host is subscribed to. It looks when it is
//! woken and every second, so a wake-up that is lost costs a second and nothing else; where nobody can wake it, more often.

use std::{pin::pin, time::Duration};

use nself_plugin_api::{
    futures_util::future::{Either, select},
    prelude::*,
    tracing::warn,
};

use crate::{Stream, config::Wakeup, store};

/// How long a reader sleeps at most.
const SWEEP: Duration = Duration::from_secs(1);
/// Pause between two looks while there is something to read: what comes in it is read together.
const BREATH: Duration = Duration::from_millis(5);
/// Publications of a channel that are read at a time.
const STEP: i64 = 500;

/// Reads until the plugin stops.
pub(crate) async fn follow(cx: &Cx<Stream>) -> Result<()> {
    let mut is_marked = false;
    loop {
        if tried(look(cx).await) || tried(mark_and_look(cx, &mut is_marked).await) {
            // Writers need not wake who is awake.
            if std::mem::take(&mut is_marked) {
                store::log::stop_waiting(&cx.db(), cx.plugin().node).await?;
            }
            cx.clock().sleep(BREATH).await?;
            continue;
        }
        let clock = cx.clock();
        let slept = pin!(clock.sleep(pause(cx)));
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

/// Whether there was something to read. What failed is tried again after the pause.
fn tried(looked: Result<bool>) -> bool {
    looked.unwrap_or_else(|error| {
        warn!(%error, "the log cannot be read");
        false
    })
}

/// Says that this host sleeps, and looks once more: what was written before the mark woke nobody.
async fn mark_and_look(cx: &Cx<Stream>, is_marked: &mut bool) -> Result<bool> {
    let is_woken = cx.plugin().config.wakeup == Wakeup::Notify;
    if !is_woken || cx.plugin().hub.positions().0.is_empty() {
        return Ok(false);
    }
    store::log::wait(&cx.db(), cx.plugin().node).await?;
    *is_marked = true;
    look(cx).await
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
    for one in news {
        match one.publication {
            Some(publication) => hub.deliver(one.channel_id, &publication),
            None => hub.lose(one.channel_id),
        }
    }
    Ok(is_news)
}

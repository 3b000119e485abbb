//! Looks: sessions that may not go on are ended, and those that have ended anywhere are heard of here.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use nself_plugin_api::{prelude::*, tracing::warn};

use super::heartbeat::ended_here;
use crate::{Stream, store::media as store};

/// Pause between two looks: what was taken away is gone within a second.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_millis(400);

/// Looks between two at what has been used up.
const QUOTAS_EVERY: u32 = 8;

/// Longest time for which a transaction that ends a session is thought to be under way.
const OVERLAP: Duration = Duration::from_secs(10);

/// Silent sessions are forgotten after this; they are found again in the database.
const FORGET_AFTER: Duration = Duration::from_secs(3_600);

/// What the look remembers.
#[derive(Default)]
pub(crate) struct Looks {
    number: AtomicU32,
    is_blind: AtomicBool,
}

/// The task `sessions`. What fails is tried again at the next look.
pub(crate) async fn sweep(cx: Cx<Stream>) -> Result<()> {
    let looked = look(&cx).await;
    let looks = &cx.plugin().media.looks;
    let was_blind = looks.is_blind.swap(looked.is_err(), Ordering::Relaxed);
    if let Err(error) = looked
        && !was_blind
    {
        warn!(%error, "it is not known at the moment which media sessions have ended");
    }
    Ok(())
}

async fn look(cx: &Cx<Stream>) -> Result<()> {
    let Stream { config, media, .. } = cx.plugin();
    let number = media.looks.number.fetch_add(1, Ordering::Relaxed);
    let is_with_quotas = number.is_multiple_of(QUOTAS_EVERY);
    store::end_unfit(&cx.db(), is_with_quotas).await?;
    let now = cx.clock().monotonic()?;
    let longest = Duration::from_secs(config.media.playback_seconds.into());
    // Whoever has an address from before the last look is among those who ended since, or at most so long ago.
    let unread = media.book.unread_for(now).unwrap_or(longest).min(longest) + OVERLAP;
    for ended in store::ended(&cx.db(), unread).await? {
        if media.book.end_of(ended.id).is_none() {
            ended_here(cx, ended.id, &ended.reason, now);
        }
    }
    media.book.has_read(now, FORGET_AFTER);
    Ok(())
}

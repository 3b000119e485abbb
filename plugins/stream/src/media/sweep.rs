//! Looks: sessions that may not go on are ended, and those that have ended anywhere are heard of here.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use nself_plugin_api::{prelude::*, tracing::warn};

use super::{Media, heartbeat::ended_here};
use crate::{Stream, store::media as store};

/// Pause between two looks: what was taken away is gone within a second.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_millis(400);

/// How long it is not looked while nothing plays anywhere. Who is admitted wakes every host; this is for a host that did not hear it.
const REST: Duration = Duration::from_secs(10);

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
    /// No session was open at the last look, and nobody was admitted since.
    is_resting: AtomicBool,
}

impl Looks {
    /// Somebody was admitted, or may have been.
    pub(crate) fn wake(&self) {
        self.is_resting.store(false, Ordering::Release);
    }

    /// Whether it is time to look, so long after the last one. Where nothing is open nothing can end.
    fn is_due(&self, unread: Option<Duration>) -> bool {
        !self.is_resting.load(Ordering::Acquire) || unread.is_none_or(|unread| unread >= REST)
    }
}

/// The task `sessions`. What fails is tried again at the next look.
pub(crate) async fn sweep(cx: Cx<Stream>) -> Result<()> {
    let Media { looks, book, .. } = &cx.plugin().media;
    if !looks.is_due(book.unread_for(cx.clock().monotonic()?)) {
        return Ok(());
    }
    // Before the look: who is admitted while it goes on takes it back.
    looks.is_resting.store(true, Ordering::Release);
    let looked = look(&cx).await;
    if !matches!(looked, Ok(IsOpen(false))) {
        looks.wake();
    }
    let was_blind = looks.is_blind.swap(looked.is_err(), Ordering::Relaxed);
    if let Err(error) = looked
        && !was_blind
    {
        warn!(%error, "it is not known at the moment which media sessions have ended");
    }
    Ok(())
}

/// Whether there is a session that may end.
struct IsOpen(bool);

async fn look(cx: &Cx<Stream>) -> Result<IsOpen> {
    let Stream { config, media, .. } = cx.plugin();
    let number = media.looks.number.fetch_add(1, Ordering::Relaxed);
    let is_with_quotas = number.is_multiple_of(QUOTAS_EVERY);
    let now = cx.clock().monotonic()?;
    let longest = Duration::from_secs(config.media.playback_seconds.into());
    // Whoever has an address from before the last look is among those who ended since, or at most so long ago.
    let unread = media.book.unread_for(now).unwrap_or(longest).min(longest) + OVERLAP;
    let seen = store::look(&cx.db(), is_with_quotas, unread).await?;
    for ended in seen.ended {
        if media.book.end_of(ended.id).is_none() {
            ended_here(cx, ended.id, &ended.reason, now);
        }
    }
    media.book.has_read(now, FORGET_AFTER);
    media.keys.read_again(cx).await?;
    Ok(IsOpen(seen.is_open))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_on_which_nothing_plays_rests_until_somebody_is_admitted() {
        let looks = Looks::default();
        let just_now = Some(Duration::ZERO);
        assert!(looks.is_due(None) && looks.is_due(just_now));
        looks.is_resting.store(true, Ordering::Release);
        assert!(!looks.is_due(just_now));
        assert!(looks.is_due(Some(REST)) && looks.is_due(None));
        looks.wake();
        assert!(looks.is_due(just_now));
    }
}

//! Heartbeats: checked here, noted here, written together. While the database is away they are checked by what this host
//! remembers, and written when it is back.

use std::time::Duration;

use nself_plugin_api::{
    Schema,
    prelude::*,
    tracing::{debug, warn},
};
use serde::Serialize;
use uuid::Uuid;

use super::{Beat, Known, State, Token, Watcher, signed};
use crate::{Stream, error::StreamError, store::media as store};

/// Pause between two writes of what was noted.
pub(crate) const FLUSH_EVERY: Duration = Duration::from_secs(3);

/// Heartbeats that are written in one statement.
const BATCH: usize = 1_000;

/// What a heartbeat brings.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Renewed {
    /// Where the content is played from now on.
    pub playback_url: String,
    /// When that address ends, in seconds since 1970.
    pub playback_expires_at: u64,
    /// Seconds until the next heartbeat is wanted.
    pub heartbeat_seconds: u32,
}

/// Takes a heartbeat, and renews the player's address.
///
/// # Errors
///
/// 404 when the session is not the caller's, 410 when it has ended.
pub(crate) async fn beat(
    cx: &Cx<Stream>,
    watcher: &Watcher,
    token: &str,
    beat: Beat,
) -> Result<Renewed> {
    let (known, is_written) = check(cx, watcher, token, &beat).await?;
    if !is_written {
        cx.plugin().media.book.note(beat);
    }
    let (playback_url, playback_expires_at) = signed(cx, &known)?;
    Ok(Renewed {
        playback_url,
        playback_expires_at,
        heartbeat_seconds: cx.plugin().config.media.heartbeat_seconds,
    })
}

/// Takes a heartbeat that says that nothing plays, and writes it at once if it can: somebody else may want the place.
///
/// # Errors
///
/// As [`beat`].
pub(crate) async fn pause(
    cx: &Cx<Stream>,
    watcher: &Watcher,
    token: &str,
    beat: Beat,
) -> Result<Renewed> {
    let renewed = self::beat(cx, watcher, token, beat).await?;
    if let Err(error) = flush(cx).await {
        debug!(%error, "a pause is noted for later");
    }
    Ok(renewed)
}

/// Ends a session by its player.
///
/// # Errors
///
/// As [`beat`].
pub(crate) async fn end(cx: &Cx<Stream>, watcher: &Watcher, token: &str, id: Uuid) -> Result<()> {
    let (known, _) = known(cx, watcher, token, id).await?;
    // What was played until now counts.
    flush(cx).await?;
    let watcher = known.watcher;
    store::end(&cx.db(), watcher.family_id, id, "ended", &watcher.actor()).await?;
    ended_here(cx, id, "ended", cx.clock().monotonic()?);
    Ok(())
}

/// The session of a heartbeat, and whether the heartbeat was written already, because the session had been silent for long.
async fn check(
    cx: &Cx<Stream>,
    watcher: &Watcher,
    token: &str,
    beat: &Beat,
) -> Result<(Known, bool)> {
    let Stream { config, media, .. } = cx.plugin();
    let (known, silence) = known(cx, watcher, token, beat.session_id).await?;
    // Another host may have heard it since. Only the database knows whether its place is still its own.
    let limit = Duration::from_secs(config.media.timeout_seconds.into()).mul_f32(0.6);
    if silence < limit {
        media.book.learn(known.clone(), beat.at);
        return Ok((known, false));
    }
    match write(cx, std::slice::from_ref(beat)).await {
        Ok(()) => {}
        // Nobody else can have got the place while there is no database to ask for it.
        Err(error) => {
            debug!(%error, "a heartbeat is noted for later");
            return Ok((known, false));
        }
    }
    if let Some(reason) = media.book.end_of(beat.session_id) {
        return Err(StreamError::Ended { reason }.into());
    }
    media.book.learn(known.clone(), beat.at);
    Ok((known, true))
}

/// A session of the caller's and how long nothing was heard of it, by what this host remembers, or by the database.
async fn known(
    cx: &Cx<Stream>,
    watcher: &Watcher,
    token: &str,
    id: Uuid,
) -> Result<(Known, Duration)> {
    let book = &cx.plugin().media.book;
    let (known, silence, end) = if let Some((known, heard_at)) = book.find(id) {
        let silence = cx.clock().monotonic()?.saturating_sub(heard_at);
        (known, silence, None)
    } else {
        let found = store::find(&cx.db(), id).await?;
        let found = found.ok_or(StreamError::Session)?;
        (found.known, found.silence, found.end_reason)
    };
    if known.watcher != *watcher || known.token_hash != Token::hash(token) {
        return Err(StreamError::Session.into());
    }
    if let Some(reason) = end.or_else(|| book.end_of(id)) {
        return Err(StreamError::Ended { reason }.into());
    }
    Ok((known, silence))
}

/// Writes what was noted. What cannot be written stays noted.
///
/// # Errors
///
/// Those of the database.
pub(crate) async fn flush(cx: &Cx<Stream>) -> Result<()> {
    let book = &cx.plugin().media.book;
    let mut beats = book.take_beats();
    while !beats.is_empty() {
        let batch = beats.split_off(beats.len().saturating_sub(BATCH));
        if let Err(error) = write(cx, &batch).await {
            book.put_back(batch);
            book.put_back(beats);
            return Err(error);
        }
    }
    Ok(())
}

/// Writes heartbeats, and finds out which sessions have ended.
async fn write(cx: &Cx<Stream>, beats: &[Beat]) -> Result<()> {
    let timeout_seconds = i64::from(cx.plugin().config.media.timeout_seconds);
    let now = cx.clock().monotonic()?;
    let taken = store::beat(&cx.db(), beats, now, timeout_seconds).await?;
    for beat in beats
        .iter()
        .filter(|beat| !taken.contains(&beat.session_id))
    {
        let goes_on = store::revive(&cx.db(), beat, now, timeout_seconds).await?;
        if !goes_on {
            let found = store::find(&cx.db(), beat.session_id).await?;
            let reason = found.and_then(|found| found.end_reason);
            ended_here(
                cx,
                beat.session_id,
                reason.as_deref().unwrap_or("timeout"),
                now,
            );
        }
    }
    Ok(())
}

/// This host knows that a session has ended.
pub(super) fn ended_here(cx: &Cx<Stream>, id: Uuid, reason: &str, now: Duration) {
    let Stream { config, media, .. } = cx.plugin();
    let until = now + Duration::from_secs(u64::from(config.media.playback_seconds) + 1);
    media.book.end(id, reason, until);
}

/// The task `heartbeats`: writes what was noted.
pub(crate) async fn keep_writing(cx: Cx<Stream>) -> Result<()> {
    if let Err(error) = flush(&cx).await {
        warn!(%error, "heartbeats of players wait for the database");
    }
    Ok(())
}

/// A heartbeat of now.
///
/// # Errors
///
/// When the plugin lacks the clock.
pub(crate) fn now(
    cx: &Cx<Stream>,
    session_id: Uuid,
    state: State,
    position_ms: Option<u64>,
) -> Result<Beat> {
    Ok(Beat {
        session_id,
        state,
        position_ms: position_ms.map(|position| i64::try_from(position).unwrap_or(i64::MAX)),
        at: cx.clock().monotonic()?,
    })
}

//! Admission: asked of the database in one call, and answered with a token and a signed address, or with why not.

use std::time::Duration;

use nself_plugin_api::{Schema, prelude::*};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{Known, Token, Watcher, heartbeat::ended_here, signed};
use crate::{
    Stream,
    error::{Denial, StreamError},
    store::media as store,
    told,
};

/// What kind of content it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Schema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Content {
    /// A film or a recording (`media_items`).
    #[default]
    Media,
    /// Something that is shown live at the moment (`live_events`).
    Live,
}

impl Content {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Media => "media",
            Self::Live => "live",
        }
    }
}

/// Whether others may take the session's place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Schema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Priority {
    /// While it plays it keeps its place.
    #[default]
    Normal,
    /// A preview, a screen in the hall: it gives its place to one of normal priority.
    Low,
}

impl Priority {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

/// An admitted session, as its player is told once.
#[derive(Serialize, Schema)]
pub(crate) struct Admission {
    /// Names it.
    pub id: Uuid,
    /// Proves that a heartbeat is this player's. It is not told again.
    pub token: String,
    /// Where the content is played from.
    pub playback_url: String,
    /// When that address ends, in seconds since 1970.
    pub playback_expires_at: u64,
    /// Seconds until the next heartbeat is wanted.
    pub heartbeat_seconds: u32,
    /// Seconds without a heartbeat after which the session has no place any more.
    pub timeout_seconds: u32,
    /// Sessions that have ended for this one.
    pub evicted: Vec<Uuid>,
}

/// Admits a session.
///
/// # Errors
///
/// Why there is no place, or why this watcher does not watch this.
pub(crate) async fn admit(
    cx: &Cx<Stream>,
    watcher: Watcher,
    content: Content,
    content_id: Uuid,
    priority: Priority,
) -> Result<Admission> {
    let settings = &cx.plugin().config.media;
    let token = Token::make(|bytes| cx.crypto().random(bytes))?;
    let rules = json!({
        "timeout_seconds": settings.timeout_seconds,
        "idle_seconds": settings.idle_seconds,
        "per_user": settings.sessions_per_user,
        "per_family": settings.sessions_per_family,
        "per_content": settings.sessions_per_content,
        "per_device": settings.sessions_per_device,
    });
    let new = store::New {
        watcher: &watcher,
        content,
        content_id,
        priority,
        token_hash: &token.hash,
        rules: &rules,
        told: &told::admitted()?,
    };
    let decided = store::admit(&cx.db(), &new).await.map_err(outrun)?;
    let now = cx.clock().monotonic()?;
    for id in &decided.evicted {
        let is_replaced = decided.replaced.contains(id);
        ended_here(
            cx,
            *id,
            if is_replaced { "replaced" } else { "evicted" },
            now,
        );
    }
    let Some(session_id) = decided.session_id else {
        return Err(refused(decided).into());
    };
    // It need not be heard from the database first.
    cx.plugin().media.looks.wake();
    let known = Known {
        session_id,
        watcher,
        content_id,
        token_hash: token.hash,
    };
    let (playback_url, playback_expires_at) = signed(cx, &known)?;
    cx.plugin().media.book.learn(known, now);
    Ok(Admission {
        id: session_id,
        token: token.text,
        playback_url,
        playback_expires_at,
        heartbeat_seconds: settings.heartbeat_seconds,
        timeout_seconds: settings.timeout_seconds,
        evicted: decided.evicted,
    })
}

/// What was there when it was looked for and is not when it is written down: the keys of the table say so.
fn outrun(error: Error) -> Error {
    match error.constraint().as_deref() {
        Some("sessions_device_id_fkey") => StreamError::Device.into(),
        Some(
            "sessions_family_id_fkey"
            | "sessions_member_id_fkey"
            | "sessions_media_item_id_fkey"
            | "sessions_live_event_id_fkey",
        ) => StreamError::Content.into(),
        _ => error,
    }
}

fn refused(decided: store::Decided) -> StreamError {
    let reason = decided.refusal.unwrap_or_default();
    let retry_after = decided
        .retry_after
        .and_then(|seconds| u64::try_from(seconds).ok());
    let denial = Denial {
        limit: decided.allowed,
        active: decided.taken,
        retry_after: retry_after.map(|seconds| Duration::from_secs(seconds.max(1))),
        reason,
    };
    match &*denial.reason {
        // Who is none of the family sees nothing of it.
        "family" | "member" | "content" | "role" => StreamError::Content,
        "device" => StreamError::Device,
        "not_ready" => StreamError::NotReady,
        "can_watch" | "parental_level" => StreamError::NotEntitled(denial),
        "bedtime" | "screen_minutes_daily" | "stream_minutes_monthly" => StreamError::Quota(denial),
        _ => StreamError::Limit(denial),
    }
}

//! `/v1/stream/sessions`: places to play something.

use nself_plugin_api::prelude::*;
use serde::Deserialize;
use uuid::Uuid;

use super::Private;
use crate::{
    Stream,
    error::StreamError,
    media::{self, Admission, Beat, Content, Priority, Renewed, State, Watcher},
    store::media::{self as store, Shown},
};

/// Sessions that are listed at most.
const LISTED_MAX: i64 = 1_000;

/// What somebody wants to play, and where.
#[derive(Debug, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Open {
    /// A media item's id, or a live event's.
    pub content_id: Uuid,
    /// Which of them.
    #[serde(default)]
    pub content_kind: Content,
    /// The machine of the family that it is played on, if it is one. A machine by itself need not say so.
    #[serde(default)]
    pub device_id: Option<Uuid>,
    /// Whether others may take its place while it plays.
    #[serde(default)]
    pub priority: Priority,
}

pub(crate) async fn open(
    cx: Cx<Stream>,
    principal: Principal,
    Json(open): Json<Open>,
) -> Result<Private<Created<Admission>>> {
    let watcher = Watcher::new(&principal, open.device_id)?;
    let (content, priority) = (open.content_kind, open.priority);
    let admission = media::admit(&cx, watcher, content, open.content_id, priority).await?;
    Ok(Private(Created(admission)))
}

pub(crate) async fn own(cx: Cx<Stream>, principal: Principal) -> Result<Private<Data<Vec<Shown>>>> {
    let who = principal.user_id.or(principal.device_id);
    // Whoever is neither has none.
    let who = who.unwrap_or_default();
    list(&cx, &principal, Some(who)).await
}

pub(crate) async fn of_the_family(
    cx: Cx<Stream>,
    principal: Principal,
) -> Result<Private<Data<Vec<Shown>>>> {
    list(&cx, &principal, None).await
}

async fn list(
    cx: &Cx<Stream>,
    principal: &Principal,
    who: Option<Uuid>,
) -> Result<Private<Data<Vec<Shown>>>> {
    let family_id = principal.family()?;
    let timeout_seconds = i64::from(cx.plugin().config.media.timeout_seconds);
    let shown = store::list(&cx.db(), family_id, who, timeout_seconds, LISTED_MAX).await?;
    Ok(Private(Data(shown)))
}

pub(crate) async fn remove(
    cx: Cx<Stream>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<NoContent> {
    let family_id = principal.family()?;
    let actor = principal.user()?.to_string();
    let is_ended = store::end(&cx.db(), family_id, id, "removed", &actor).await?;
    if !is_ended {
        return Err(StreamError::Session.into());
    }
    media::has_ended(&cx, id, "removed")?;
    Ok(NoContent)
}

/// What a player says of itself.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Said {
    /// The session's token.
    #[schema(min_length = 1, max_length = 200)]
    pub token: String,
    /// The machine that it plays on, as it was said when the session was admitted.
    #[serde(default)]
    pub device_id: Option<Uuid>,
    /// What it does.
    #[serde(default)]
    pub state: State,
    /// Where in the content it is.
    #[serde(default)]
    pub position_ms: Option<u64>,
}

/// The caller, the token, and the heartbeat.
fn heard(
    cx: &Cx<Stream>,
    principal: &Principal,
    id: Uuid,
    said: Said,
) -> Result<(Watcher, String, Beat)> {
    let watcher = Watcher::new(principal, said.device_id).map_err(strangers_see_no_session)?;
    let beat = media::now(cx, id, said.state, said.position_ms)?;
    Ok((watcher, said.token, beat))
}

fn strangers_see_no_session(error: Error) -> Error {
    if error.status() == 404 {
        return StreamError::Session.into();
    }
    error
}

pub(crate) async fn beat(
    cx: Cx<Stream>,
    principal: Principal,
    Path(id): Path<Uuid>,
    Json(said): Json<Said>,
) -> Result<Private<Data<Renewed>>> {
    let (watcher, token, beat) = heard(&cx, &principal, id, said)?;
    Ok(Private(Data(
        media::beat(&cx, &watcher, &token, beat).await?,
    )))
}

pub(crate) async fn pause(
    cx: Cx<Stream>,
    principal: Principal,
    Path(id): Path<Uuid>,
    Json(said): Json<Said>,
) -> Result<Private<Data<Renewed>>> {
    let said = Said {
        state: State::Paused,
        ..said
    };
    let (watcher, token, beat) = heard(&cx, &principal, id, said)?;
    Ok(Private(Data(
        media::pause(&cx, &watcher, &token, beat).await?,
    )))
}

pub(crate) async fn end(
    cx: Cx<Stream>,
    principal: Principal,
    Path(id): Path<Uuid>,
    Json(said): Json<Said>,
) -> Result<NoContent> {
    let (watcher, token, _) = heard(&cx, &principal, id, said)?;
    media::end(&cx, &watcher, &token, id).await?;
    Ok(NoContent)
}

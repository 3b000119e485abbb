//! What other hosts, and this one, have changed: keys that turned, sessions that ended. Heard by LISTEN, told to the host,
//! which refuses the tokens from then on.

use nself_plugin_api::{
    capability::db::{Notification, Notifications},
    futures_util::StreamExt,
    jiff::SignedDuration,
    prelude::*,
    tracing::warn,
};
use uuid::Uuid;

use crate::{Auth, store::sessions};

const CHANNEL: &str = "auth";

/// Listens, and catches up with what happened before. Tokens that were refused stay refused when the host starts anew.
pub(crate) async fn begin(cx: &Cx<Auth>) -> Result<()> {
    let notifications = cx.db().listen(CHANNEL).await?;
    catch_up(cx).await?;
    let listening = cx.clone();
    cx.tasks().spawn(
        "changes",
        async move { follow(&listening, notifications).await },
    )?;
    Ok(())
}

async fn follow(cx: &Cx<Auth>, mut notifications: Notifications) -> Result<()> {
    while let Some(notification) = notifications.next().await {
        let heard = match notification? {
            // What was told meanwhile was not heard.
            Notification::Reconnected => catch_up(cx).await,
            Notification::Payload(payload) => hear(cx, &payload).await,
        };
        if let Err(error) = heard {
            warn!(%error, "a change of sessions or keys could not be taken over");
        }
    }
    Ok(())
}

async fn hear(cx: &Cx<Auth>, payload: &str) -> Result<()> {
    let mut words = payload.split(' ');
    let id = |word: Option<&str>| word.and_then(|word| word.parse::<Uuid>().ok());
    match words.next() {
        Some("keys") => cx.plugin().keys.reload(cx, &cx.plugin().config).await,
        Some("revoked") => match id(words.next()) {
            Some(session) => cx.identity().revoke_session(session, forget_at(cx)?),
            None => Ok(()),
        },
        Some("outdated") => match (
            id(words.next()),
            words.next().and_then(|word| word.parse().ok()),
        ) {
            (Some(session), Some(epoch)) => {
                cx.identity().refuse_older(session, epoch, forget_at(cx)?)
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

async fn catch_up(cx: &Cx<Auth>) -> Result<()> {
    cx.plugin().keys.reload(cx, &cx.plugin().config).await?;
    let since = cx.clock().now()? - token_life(cx);
    let until = forget_at(cx)?;
    for (session, epoch) in sessions::changed_since(&cx.db(), since).await? {
        match epoch {
            None => cx.identity().revoke_session(session, until)?,
            Some(epoch) => {
                let epoch = u32::try_from(epoch).unwrap_or_default();
                cx.identity().refuse_older(session, epoch, until)?;
            }
        }
    }
    Ok(())
}

/// When no token from before now is alive any more, in seconds since the epoch.
fn forget_at(cx: &Cx<Auth>) -> Result<u64> {
    let until = cx.clock().now()? + token_life(cx);
    Ok(until.as_second().unsigned_abs())
}

fn token_life(cx: &Cx<Auth>) -> SignedDuration {
    let config = &cx.plugin().config;
    let minutes = config.access_minutes.max(config.access_minutes_privileged);
    SignedDuration::from_mins(i64::from(minutes) + 1)
}

//! Ends of subscriptions: out of the hub at once, out of the presence of all hosts a moment later.

use std::sync::Arc;

use nself_plugin_api::{prelude::*, tracing::debug};

use crate::{
    Stream,
    channel::Channel,
    protocol::{ClientInfo, Unsubscribe},
    session::Session,
    store, told,
};

/// The session has left these channels by itself.
pub(crate) fn leave(cx: &Cx<Stream>, session: &Session, channels: Vec<Channel>) {
    for channel in &channels {
        cx.plugin().hub.leave(&channel.name, session.client);
    }
    tell(cx, session, channels);
}

/// The session is put out of these channels, which it is told.
pub(crate) fn unsubscribe(
    cx: &Cx<Stream>,
    session: &Session,
    channels: &[Channel],
    why: Unsubscribe,
) {
    cx.plugin().hub.unsubscribe(session, channels, why);
    tell(cx, session, channels.to_vec());
}

/// The connection has ended.
pub(crate) fn end(cx: &Cx<Stream>, session: &Arc<Session>) {
    let channels = cx.plugin().hub.remove(session);
    tell(cx, session, channels);
}

/// Beside whatever goes on: nobody waits for it. What is lost of it the keeper makes up for.
fn tell(cx: &Cx<Stream>, session: &Session, mut channels: Vec<Channel>) {
    channels.retain(|channel| channel.is_listed() || channel.is_announced());
    let Some(principal) = session.principal().filter(|_| !channels.is_empty()) else {
        return;
    };
    let info = session.info(&principal);
    let (telling, client) = (cx.clone(), session.client);
    let spawned = cx.tasks().spawn("leave", async move {
        for channel in channels {
            if channel.is_listed() {
                store::presence::leave(&telling.db(), &channel.name, client).await?;
            }
            if channel.is_announced() {
                left(&telling, &channel, &info).await;
            }
        }
        Ok(())
    });
    if let Err(error) = spawned {
        debug!(%error, "nobody is told that somebody left");
    }
}

async fn left(cx: &Cx<Stream>, channel: &Channel, info: &ClientInfo) {
    told::left(cx, &channel.name, info).await;
}

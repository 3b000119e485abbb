//! Ends of subscriptions: out of the hub at once, out of the presence of all hosts a moment later.

use std::{sync::Arc, time::Duration};

use nself_plugin_api::{prelude::*, tracing::debug};

use crate::{
    Stream,
    channel::Channel,
    protocol::{Disconnect, Unsubscribe},
    session::Session,
    store, told,
};

/// Time for a client that has come again to subscribe to what it was subscribed to.
const COMING_BACK: Duration = Duration::from_secs(5);

/// The session has left these channels by itself.
pub(crate) fn leave(cx: &Cx<Stream>, session: &Arc<Session>, channels: Vec<Channel>) {
    for channel in &channels {
        cx.plugin().hub.leave(&channel.name, session.client);
    }
    tell(cx, session, channels);
}

/// The session is put out of these channels, which it is told.
pub(crate) fn unsubscribe(
    cx: &Cx<Stream>,
    session: &Arc<Session>,
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

/// Another connection of the same client has taken this one's place. The channels that it does not come back to it has left in a moment.
pub(crate) fn give_way(cx: &Cx<Stream>, session: &Arc<Session>) {
    let channels = cx.plugin().hub.remove(session);
    session.outlet.close(Disconnect::REPLACED);
    tell_after(cx, session, channels, COMING_BACK);
}

fn tell(cx: &Cx<Stream>, session: &Arc<Session>, channels: Vec<Channel>) {
    tell_after(cx, session, channels, Duration::ZERO);
}

/// Beside whatever goes on: nobody waits for it. What is lost of it the keeper makes up for.
fn tell_after(
    cx: &Cx<Stream>,
    session: &Arc<Session>,
    mut channels: Vec<Channel>,
    pause: Duration,
) {
    channels.retain(|channel| channel.is_listed() || channel.is_announced());
    let Some(principal) = session.principal().filter(|_| !channels.is_empty()) else {
        return;
    };
    let info = session.info(&principal);
    let (telling, session) = (cx.clone(), Arc::clone(session));
    let spawned = cx.tasks().spawn("leave", async move {
        if !pause.is_zero() {
            telling.clock().sleep(pause).await?;
        }
        for channel in channels {
            if has_left(&telling, &session, &channel).await? && channel.is_announced() {
                told::left(&telling, &channel.name, &info).await;
            }
        }
        Ok(())
    });
    if let Err(error) = spawned {
        debug!(%error, "nobody is told that somebody left");
    }
}

/// Takes it out of the presence; whether it has left as others see it. A client that is known again may be there by another connection.
async fn has_left(cx: &Cx<Stream>, session: &Session, channel: &Channel) -> Result<bool> {
    let is_known = session.is_known_again();
    if is_known && cx.plugin().hub.is_in_by_another(session, &channel.name) {
        return Ok(false);
    }
    if !channel.is_listed() {
        return Ok(true);
    }
    let (client, node) = (session.known_as(), cx.plugin().node);
    let was_there = store::presence::leave(&cx.db(), &channel.name, client, node).await?;
    Ok(was_there || !is_known)
}

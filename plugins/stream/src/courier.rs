//! What nobody keeps, on its way to all hosts: by Redis where the operator has one, which takes many times what Postgres does and holds no
//! commit up. NOTIFY carries it where there is none, while it is away, and what SQL publishes at the end of a transaction.
//!
//! Redis gives everything to everybody in one order, this host included. What is told by NOTIFY while Redis is away may come in another
//! order than what it carried just before. Of who listens at a host that alone is cut off from Redis nobody knows, so they miss what the
//! others publish, which is what may happen to what is not kept.

use nself_plugin_api::{
    capability::pubsub::{Heard, Messages},
    futures_util::StreamExt,
    prelude::*,
    tracing::{debug, warn},
};

use crate::{Stream, store, told};

/// The channel on which hosts tell one another publications.
const CHANNEL: &str = "publications";

/// Redis was not asked, so something else may carry it and nobody gets it twice.
const AWAY: &str = "PUBSUB_AWAY";

/// What a NOTIFY takes. More is refused by it, so that a publication does not depend on what carries it at the moment.
const NOTIFY_BYTES_MAX: usize = 7_999;

/// Tells all hosts a publication.
///
/// # Errors
///
/// When nobody knows whether Redis has it; those of the database.
pub(crate) async fn carry(cx: &Cx<Stream>, told: String) -> Result<()> {
    if told.len() <= NOTIFY_BYTES_MAX && cx.pubsub().is_on()? {
        match cx.pubsub().publish(CHANNEL, told.clone()).await {
            Err(error) if error.code() == AWAY => {}
            carried => return carried,
        }
    }
    store::told::tell(&cx.db(), &told).await
}

/// What hosts publish from now on.
///
/// # Errors
///
/// When Redis lets nobody subscribe.
pub(crate) async fn subscribe(cx: &Cx<Stream>) -> Result<Messages> {
    cx.pubsub().subscribe(&[CHANNEL]).await
}

/// Hears it until the subscription ends.
///
/// # Errors
///
/// That of the host, with which it ends.
pub(crate) async fn hear(cx: &Cx<Stream>, mut messages: Messages) -> Result<()> {
    while let Some(heard) = messages.next().await {
        match heard? {
            Heard::Message { message, .. } => match std::str::from_utf8(&message) {
                Ok(told) => told::hear_publication(cx, told),
                Err(error) => warn!(%error, "something that is no text was carried"),
            },
            // There is nowhere to look for what nobody keeps.
            Heard::Missed => debug!("what is not kept may have been missed"),
        }
    }
    Ok(())
}

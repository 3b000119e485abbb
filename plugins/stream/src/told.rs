//! What hosts tell one another beside the log: publications that nobody keeps, who came and went. By NOTIFY, which every host
//! hears, this one included, so that all deliver in one order.

use nself_plugin_api::{
    capability::db::{Notification, Notifications},
    futures_util::StreamExt,
    prelude::*,
    tracing::{debug, warn},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    Stream,
    hub::Presence,
    protocol::{ClientInfo, Publication},
    store,
};

/// What is told; without anything in it, that there is something to read.
#[derive(Serialize, Deserialize)]
struct Told<'a> {
    kind: Kind,
    channel: &'a str,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tags: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    info: Option<ClientInfo>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Publication,
    Join,
    Leave,
}

/// Publishes what nobody keeps.
///
/// # Errors
///
/// Those of the database.
pub(crate) async fn publish(
    cx: &Cx<Stream>,
    channel: &str,
    data: Box<RawValue>,
    tags: Option<Box<RawValue>>,
    info: Option<&ClientInfo>,
) -> Result<()> {
    let told = Told {
        kind: Kind::Publication,
        channel,
        data: Some(data),
        tags,
        info: info.cloned(),
    };
    tell(cx, &told).await
}

/// Somebody is subscribed. Whoever misses it finds them in the presence.
pub(crate) async fn joined(cx: &Cx<Stream>, channel: &str, info: &ClientInfo) {
    tell_presence(cx, Kind::Join, channel, info).await;
}

/// Somebody has gone.
pub(crate) async fn left(cx: &Cx<Stream>, channel: &str, info: &ClientInfo) {
    tell_presence(cx, Kind::Leave, channel, info).await;
}

async fn tell_presence(cx: &Cx<Stream>, kind: Kind, channel: &str, info: &ClientInfo) {
    let told = Told {
        kind,
        channel,
        data: None,
        tags: None,
        info: Some(info.clone()),
    };
    if let Err(error) = tell(cx, &told).await {
        debug!(%error, "nobody is told who came or went");
    }
}

async fn tell(cx: &Cx<Stream>, told: &Told<'_>) -> Result<()> {
    let text = serde_json::to_string(told).map_err(Error::internal)?;
    store::told::tell(&cx.db(), &text).await
}

/// Hears what hosts tell until the stream of notifications ends.
pub(crate) async fn listen(cx: &Cx<Stream>, mut notifications: Notifications) -> Result<()> {
    while let Some(notification) = notifications.next().await {
        match notification? {
            // What was said meanwhile was not heard; what was written can be read.
            Notification::Reconnected => cx.plugin().hub.bell.wake(),
            Notification::Payload(text) if text.is_empty() => cx.plugin().hub.bell.wake(),
            Notification::Payload(text) => hear(cx, &text),
        }
    }
    Ok(())
}

fn hear(cx: &Cx<Stream>, text: &str) {
    let told: Told<'_> = match serde_json::from_str(text) {
        Ok(told) => told,
        Err(error) => return warn!(%error, "something that does not read was told"),
    };
    let hub = &cx.plugin().hub;
    match (told.kind, told.data, told.info) {
        (Kind::Publication, Some(data), info) => {
            let info = info.and_then(|info| serde_json::value::to_raw_value(&info).ok());
            // A tag that is null is none.
            let tags = told.tags.filter(|tags| tags.get() != "null");
            let publication = Publication {
                data,
                info,
                offset: 0,
                tags,
                time: 0,
            };
            hub.flash(told.channel, &publication);
        }
        (Kind::Join, _, Some(info)) => hub.tell_presence(told.channel, Presence::Join, &info),
        (Kind::Leave, _, Some(info)) => hub.tell_presence(told.channel, Presence::Leave, &info),
        _ => {}
    }
}

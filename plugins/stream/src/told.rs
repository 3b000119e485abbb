//! What hosts tell one another beside the log: publications that nobody keeps, who came and went, whom an operator sends away. By NOTIFY, which every host
//! hears, this one included, so that all deliver in one order. A host that cannot listen finds the same written down. Publications have a courier.

use std::{collections::HashSet, sync::Arc, time::Duration};

use nself_plugin_api::{
    capability::db::{Notification, Notifications},
    futures_util::{self, StreamExt},
    prelude::*,
    tracing::{debug, warn},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    Stream,
    channel::Own,
    courier, course,
    hub::Presence,
    leaving,
    outlet::Frame,
    protocol::{
        ClientInfo, Disconnect, End, Publication, Push, Refresh, StreamPosition, Unsubscribe, push,
    },
    session::{self, Session, by_server, connect},
    store::{self, told::Heard},
    survey,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<StreamPosition>,
    /// What holds for a subscription alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    own: Option<Own>,
    /// How a connection ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<End>,
    /// When it does, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end_at: Option<u64>,
    /// Clients that are not meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    except: Vec<String>,
}

impl<'a> Told<'a> {
    fn new(kind: Kind, channel: &'a str, info: Option<ClientInfo>) -> Self {
        Self {
            kind,
            channel,
            data: None,
            tags: None,
            info,
            since: None,
            own: None,
            end: None,
            end_at: None,
            except: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Publication,
    Join,
    Leave,
    /// Of the user in `info`, and of all of its clients where none is named.
    Unsubscribe,
    /// The same.
    Disconnect,
    /// The same: into a channel, from a position where one is given.
    Subscribe,
    /// The same: as if the token were at its end, or as if it had an earlier one.
    Expire,
    /// What was kept of a channel is gone.
    HistoryRemoved,
    /// Whoever asks by that id in `channel` is told what there is.
    Survey,
    /// A media session may have to be ended from now on.
    Admitted,
}

/// Publishes what nobody keeps.
///
/// # Errors
///
/// Those of the courier.
pub(crate) async fn publish(
    cx: &Cx<Stream>,
    channel: &str,
    data: Box<RawValue>,
    tags: Option<Box<RawValue>>,
    info: Option<&ClientInfo>,
) -> Result<()> {
    let told = Told {
        data: Some(data),
        tags,
        ..Told::new(Kind::Publication, channel, info.cloned())
    };
    courier::carry(cx, text(&told)?).await
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
    let told = Told::new(kind, channel, Some(info.clone()));
    if let Err(error) = tell(cx, &told).await {
        debug!(%error, "nobody is told who came or went");
    }
}

/// Ends a user's subscriptions to a channel on all hosts; only those of one client, where it is named.
///
/// # Errors
///
/// Those of the database.
pub(crate) async fn unsubscribe(
    cx: &Cx<Stream>,
    channel: &str,
    user: String,
    client: String,
) -> Result<()> {
    let whom = ClientInfo { user, client };
    tell(cx, &Told::new(Kind::Unsubscribe, channel, Some(whom))).await
}

/// Ends a user's connections on all hosts, or one of them, but for those that are named.
///
/// # Errors
///
/// Those of the database.
pub(crate) async fn disconnect(
    cx: &Cx<Stream>,
    whom: ClientInfo,
    end: Option<End>,
    except: Vec<String>,
) -> Result<()> {
    let told = Told {
        end,
        except,
        ..Told::new(Kind::Disconnect, "", Some(whom))
    };
    tell(cx, &told).await
}

/// Ends them at that time, or now, for who may come again with a newer token.
///
/// # Errors
///
/// Those of the database.
pub(crate) async fn expire(cx: &Cx<Stream>, whom: ClientInfo, end_at: Option<u64>) -> Result<()> {
    let told = Told {
        end_at,
        ..Told::new(Kind::Expire, "", Some(whom))
    };
    tell(cx, &told).await
}

/// Who is to be subscribed, and how.
pub(crate) struct Subscribing {
    pub user: String,
    /// Only this connection, if it is named.
    pub client: String,
    /// Given to the client as it is.
    pub data: Option<Box<RawValue>>,
    pub since: Option<StreamPosition>,
    pub own: Own,
}

/// Subscribes the connections of a user on all hosts.
///
/// # Errors
///
/// Those of the database.
pub(crate) async fn subscribe(cx: &Cx<Stream>, channel: &str, whom: Subscribing) -> Result<()> {
    let Subscribing {
        user,
        client,
        data,
        since,
        own,
    } = whom;
    let whom = ClientInfo { user, client };
    let told = Told {
        data,
        since,
        own: Some(own).filter(|own| *own != Own::default()),
        ..Told::new(Kind::Subscribe, channel, Some(whom))
    };
    tell(cx, &told).await
}

/// What hosts remember of a channel is given to nobody any more.
///
/// # Errors
///
/// Those of the database.
pub(crate) async fn history_removed(cx: &Cx<Stream>, channel: &str) -> Result<()> {
    tell(cx, &Told::new(Kind::HistoryRemoved, channel, None)).await
}

/// Asks all hosts what channels they have; they write it down.
///
/// # Errors
///
/// Those of the database.
pub(crate) async fn survey(cx: &Cx<Stream>, id: Uuid) -> Result<()> {
    tell(cx, &Told::new(Kind::Survey, &id.to_string(), None)).await
}

/// That a media session was admitted, as it is told in the transaction that does.
///
/// # Errors
///
/// None that is known.
pub(crate) fn admitted() -> Result<String> {
    text(&Told::new(Kind::Admitted, "", None))
}

async fn tell(cx: &Cx<Stream>, told: &Told<'_>) -> Result<()> {
    store::told::tell(&cx.db(), &text(told)?).await
}

fn text(told: &Told<'_>) -> Result<String> {
    serde_json::to_string(told).map_err(Error::internal)
}

/// Hears what hosts tell until the stream of notifications ends.
pub(crate) async fn listen(cx: &Cx<Stream>, mut notifications: Notifications) -> Result<()> {
    while let Some(notification) = notifications.next().await {
        match notification? {
            Notification::Reconnected => heard_nothing_for_a_while(cx).await,
            Notification::Payload(text) if text.is_empty() => cx.plugin().hub.bell.wake(),
            Notification::Payload(text) => hear(cx, &text),
        }
    }
    Ok(())
}

/// Whether a host asks no more. Once it has said so it does not stand among those that ask, as it would by asking again.
#[derive(Default)]
pub(crate) struct Asking {
    has_ended: futures_util::lock::Mutex<bool>,
}

impl Asking {
    /// What was told from there on; nothing when the host asks no more.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub(crate) async fn hear(&self, cx: &Cx<Stream>, since: i64) -> Result<Option<Heard>> {
        let has_ended = self.has_ended.lock().await;
        if *has_ended {
            return Ok(None);
        }
        let heard = store::told::hear(&cx.db(), cx.plugin().node, since).await;
        heard.map(Some)
    }

    /// The host asks no more.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub(crate) async fn end(&self, cx: &Cx<Stream>) -> Result<()> {
        let mut has_ended = self.has_ended.lock().await;
        *has_ended = true;
        store::told::stop_hearing(&cx.db(), cx.plugin().node).await
    }
}

/// The same for a host that cannot listen: it looks again and again, from there on.
pub(crate) async fn look(cx: &Cx<Stream>, mut since: i64) -> Result<()> {
    let pause = Duration::from_millis(cx.plugin().config.poll_ms.into());
    let mut known: HashSet<i64> = HashSet::new();
    let mut is_blind = false;
    loop {
        cx.clock().sleep(pause).await?;
        let heard = match cx.plugin().keeper.asking.hear(cx, since).await {
            Ok(Some(heard)) => heard,
            Ok(None) => return Ok(()),
            Err(error) => {
                if !std::mem::replace(&mut is_blind, true) {
                    warn!(%error, "what other hosts tell cannot be read");
                }
                continue;
            }
        };
        if std::mem::take(&mut is_blind) {
            heard_nothing_for_a_while(cx).await;
        }
        since = heard.upto;
        let fresh = heard.all.iter().filter(|(id, _)| !known.contains(id));
        for (_, text) in fresh {
            hear(cx, text);
        }
        // Those that are older are not told again.
        known = heard.all.into_iter().map(|(id, _)| id).collect();
    }
}

/// What was said meanwhile was not heard; what was written can be read, if the log is the same.
async fn heard_nothing_for_a_while(cx: &Cx<Stream>) {
    course::check(cx).await;
    cx.plugin().media.looks.wake();
    cx.plugin().hub.bell.wake();
}

fn read(text: &str) -> Option<Told<'_>> {
    serde_json::from_str(text)
        .inspect_err(|error| warn!(%error, "something that does not read was told"))
        .ok()
}

/// Hears a publication, and nothing else: whoever can write to Redis sends nobody away.
pub(crate) fn hear_publication(cx: &Cx<Stream>, text: &str) {
    let told = read(text).filter(|told| matches!(told.kind, Kind::Publication));
    if let Some(told) = told {
        flash(cx, told);
    }
}

/// Delivers what nobody keeps.
fn flash(cx: &Cx<Stream>, told: Told<'_>) {
    let Some(data) = told.data else {
        return;
    };
    let info = told.info;
    let publication = Publication {
        data,
        info: info.and_then(|info| serde_json::value::to_raw_value(&info).ok()),
        offset: 0,
        // A tag that is null is none.
        tags: told.tags.filter(|tags| tags.get() != "null"),
        delta: false,
        time: 0,
    };
    cx.plugin().hub.flash(told.channel, &publication);
}

fn hear(cx: &Cx<Stream>, text: &str) {
    let Some(told) = read(text) else {
        return;
    };
    let hub = &cx.plugin().hub;
    if matches!(told.kind, Kind::Publication) {
        return flash(cx, told);
    }
    match (told.kind, told.data, told.info) {
        (Kind::Join, _, Some(info)) => hub.tell_presence(told.channel, Presence::Join, &info),
        (Kind::Leave, _, Some(info)) => hub.tell_presence(told.channel, Presence::Leave, &info),
        (Kind::Unsubscribe, _, Some(whom)) => {
            for session in meant(cx, &whom, &[]) {
                if let Some(channel) = session.forget(told.channel) {
                    leaving::unsubscribe(cx, &session, &[channel], Unsubscribe::SERVER);
                }
            }
        }
        (Kind::Disconnect, _, Some(whom)) => {
            let why = told.end.unwrap_or(Disconnect::FORCE_DISCONNECT.into());
            for session in meant(cx, &whom, &told.except) {
                session.outlet.end(why.clone());
            }
        }
        (Kind::Expire, _, Some(whom)) => {
            for session in meant(cx, &whom, &[]) {
                expire_one(cx, &session, told.end_at);
            }
        }
        (Kind::Subscribe, data, Some(whom)) => {
            let Some(channel) = cx.plugin().namespaces.find(told.channel) else {
                return;
            };
            let own = told.own.unwrap_or_default();
            let channel = channel.with(own);
            for session in meant(cx, &whom, &[]) {
                let since = told.since.clone();
                by_server::bring(cx, session, channel.clone(), since, data.clone());
            }
        }
        (Kind::HistoryRemoved, ..) => hub.forget_history(told.channel),
        (Kind::Survey, ..) => {
            if let Ok(id) = told.channel.parse() {
                survey::answer(cx, id);
            }
        }
        (Kind::Admitted, ..) => cx.plugin().media.looks.wake(),
        _ => {}
    }
}

/// Lets a connection end at that time, as its client is told, or at once.
fn expire_one(cx: &Cx<Stream>, session: &Session, end_at: Option<u64>) {
    let Ok(now) = cx.clock().now() else {
        return;
    };
    let is_to_come = |end: &u64| *end > now.as_second().unsigned_abs();
    let end = end_at
        .filter(is_to_come)
        .and_then(|end| session.end_at(end));
    match end.map(|end| connect::ttl(cx, end)) {
        Some(Ok(ttl)) => {
            let refresh = Some(Refresh { expires: true, ttl });
            let told = Push {
                refresh,
                ..Push::default()
            };
            session.outlet.send(&Frame::from(push(told)));
        }
        _ => session.outlet.close(Disconnect::EXPIRED),
    }
}

/// The connections of a user, or the one of them that is named, and not those that are excepted.
fn meant(cx: &Cx<Stream>, whom: &ClientInfo, except: &[String]) -> Vec<Arc<Session>> {
    let mut sessions = cx.plugin().hub.all_sessions();
    sessions.retain(|session| {
        let is_it = |client: &String| session.known_as().to_string() == *client;
        let is_named = whom.client.is_empty() || is_it(&whom.client);
        let is_named = is_named && !except.iter().any(is_it);
        let principal = session.principal().filter(|_| is_named);
        principal.is_some_and(|principal| session::user(&principal) == whom.user)
    });
    sessions
}

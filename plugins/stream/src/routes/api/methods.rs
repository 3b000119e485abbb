//! The methods of the server API.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use nself_plugin_api::{prelude::*, tracing::warn};
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};
use uuid::Uuid;

use super::types::{
    Broadcast, Channel, Channels, Disconnect, Ending, Flag, History, Info, Overrides, Publish,
    Refresh, Rpc, Subscribe, Unsubscribe,
};
use crate::{
    Stream, channel, channels,
    protocol::{ClientInfo, End, Error as Refusal, StreamPosition},
    store, survey, told,
};

/// Channels of one broadcast.
const CHANNELS_MAX: usize = 1_000;
/// Bytes that a client is told with a subscription: they travel in a NOTIFY.
const DATA_BYTES_MAX: usize = 5_000;
/// Clients that are excepted from one disconnect: they travel in a NOTIFY.
const WHITELIST_MAX: usize = 100;
/// What a WebSocket's close has room for.
const REASON_BYTES_MAX: usize = 123;

/// Why a method is not carried out.
pub(super) enum No {
    /// The caller is told.
    Refused(Refusal),
    /// The log is.
    Failed(Error),
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for No {
    fn from(error: Error) -> Self {
        if (400..500).contains(&error.status()) {
            Self::Refused(Refusal::BAD_REQUEST)
        } else {
            Self::Failed(error)
        }
    }
}

/// A request that can be carried out.
pub(super) trait Method: Send {
    /// Its result, as JSON.
    ///
    /// # Errors
    ///
    /// [`No`].
    fn result(self, cx: &Cx<Stream>)
    -> impl Future<Output = std::result::Result<Value, No>> + Send;
}

/// The answer to a request: its result, or an error.
pub(super) async fn carry_out(cx: &Cx<Stream>, request: impl Method) -> Value {
    match request.result(cx).await {
        Ok(result) => json!({"result": result}),
        Err(No::Refused(refusal)) => json!({"error": refusal}),
        Err(No::Failed(error)) => {
            warn!(%error, cause = error.cause(), "a method of the server API failed");
            json!({"error": Refusal::INTERNAL})
        }
    }
}

/// The channel of that whole name.
fn find(cx: &Cx<Stream>, name: &str) -> std::result::Result<channel::Channel, Refusal> {
    let found = cx.plugin().namespaces.find(name);
    found.ok_or(Refusal::UNKNOWN_CHANNEL)
}

fn written(result: &impl Serialize) -> std::result::Result<Value, No> {
    serde_json::to_value(result).map_err(|error| No::Failed(Error::internal(error)))
}

/// What is given as JSON, or as the base64 of JSON.
fn payload(
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
) -> std::result::Result<Option<Box<RawValue>>, Refusal> {
    let Some(b64data) = b64data.filter(|text| !text.is_empty()) else {
        return Ok(data);
    };
    let text = STANDARD.decode(b64data).ok().map(String::from_utf8);
    let json = text.and_then(|text| RawValue::from_string(text.ok()?).ok());
    json.map(Some).ok_or(Refusal::BAD_REQUEST)
}

/// A time in seconds since 1970, where one is given, that is still to come.
fn to_come(cx: &Cx<Stream>, expire_at: i64) -> std::result::Result<Option<u64>, No> {
    if expire_at == 0 {
        return Ok(None);
    }
    let now = cx.clock().now()?.as_second();
    if expire_at <= now {
        return Err(Refusal::EXPIRED.into());
    }
    Ok(Some(expire_at.unsigned_abs()))
}

/// Connections have no sessions beside them, as those of Centrifugo's emulated transports do.
fn no_session(session: &str) -> std::result::Result<(), Refusal> {
    session
        .is_empty()
        .then_some(())
        .ok_or(Refusal::NOT_AVAILABLE)
}

impl Method for Publish {
    async fn result(self, cx: &Cx<Stream>) -> std::result::Result<Value, No> {
        find(cx, &self.channel)?;
        let publish = channels::Publish {
            channel: self.channel,
            data: payload(self.data, self.b64data)?.ok_or(Refusal::BAD_REQUEST)?,
            tags: self.tags,
            key: self.idempotency_key,
            is_fleeting: self.skip_history,
        };
        written(&channels::publish(cx, publish).await?)
    }
}

impl Method for Broadcast {
    async fn result(self, cx: &Cx<Stream>) -> std::result::Result<Value, No> {
        if self.channels.len() > CHANNELS_MAX {
            return Err(Refusal::LIMIT_EXCEEDED.into());
        }
        let data = payload(self.data, self.b64data)?;
        let mut responses = Vec::with_capacity(self.channels.len());
        for channel in self.channels {
            let one = Publish {
                channel,
                data: data.clone(),
                b64data: None,
                tags: self.tags.clone(),
                idempotency_key: self.idempotency_key.clone(),
                skip_history: self.skip_history,
            };
            // Each is refused or not by itself.
            responses.push(carry_out(cx, one).await);
        }
        Ok(json!({"responses": responses}))
    }
}

impl Method for History {
    async fn result(self, cx: &Cx<Stream>) -> std::result::Result<Value, No> {
        let channel = find(cx, &self.channel)?;
        if !channel.is_recoverable() {
            return Err(Refusal::NOT_AVAILABLE.into());
        }
        let place = store::log::locate(&cx.db(), &channel.name).await?;
        let since = self.since.as_ref();
        if since.is_some_and(|since| !since.epoch.is_empty() && since.epoch != place.epoch) {
            return Err(Refusal::UNRECOVERABLE_POSITION.into());
        }
        let most = i64::from(cx.plugin().config.recovery_max);
        let limit = if self.limit < 0 {
            most
        } else {
            self.limit.min(most)
        };
        let since = since.map(|since| since.offset);
        let name = &channel.name;
        let publications = store::log::history(&cx.db(), name, since, limit, self.reverse).await?;
        Ok(json!({
            "publications": written(&publications)?, "offset": place.top, "epoch": place.epoch,
        }))
    }
}

/// Who is in a channel.
pub(super) struct Presence(pub(super) Channel);

/// How many are in a channel.
pub(super) struct PresenceStats(pub(super) Channel);

async fn present(cx: &Cx<Stream>, name: &str) -> std::result::Result<Vec<ClientInfo>, No> {
    let channel = find(cx, name)?;
    if !channel.rules.presence {
        return Err(Refusal::NOT_AVAILABLE.into());
    }
    Ok(store::presence::all(&cx.db(), &channel.name).await?)
}

impl Method for Presence {
    async fn result(self, cx: &Cx<Stream>) -> std::result::Result<Value, No> {
        let present = present(cx, &self.0.channel).await?;
        let all: BTreeMap<_, _> = present.iter().map(|info| (&*info.client, info)).collect();
        Ok(json!({"presence": written(&all)?}))
    }
}

impl Method for PresenceStats {
    async fn result(self, cx: &Cx<Stream>) -> std::result::Result<Value, No> {
        let present = present(cx, &self.0.channel).await?;
        let users: BTreeSet<&str> = present.iter().map(|info| &*info.user).collect();
        Ok(json!({"num_clients": present.len(), "num_users": users.len()}))
    }
}

/// Removes what a channel has kept.
pub(super) struct HistoryRemove(pub(super) Channel);

impl Method for HistoryRemove {
    async fn result(self, cx: &Cx<Stream>) -> std::result::Result<Value, No> {
        let channel = find(cx, &self.0.channel)?;
        if !channel.is_recoverable() {
            return Err(Refusal::NOT_AVAILABLE.into());
        }
        store::log::remove(&cx.db(), &channel.name).await?;
        told::history_removed(cx, &channel.name).await?;
        Ok(json!({}))
    }
}

impl Method for Channels {
    async fn result(self, cx: &Cx<Stream>) -> std::result::Result<Value, No> {
        let counts = survey::channels(cx, &self.pattern).await?;
        let channels: BTreeMap<_, _> = counts
            .into_iter()
            .map(|(name, clients)| (name, json!({"num_clients": clients})))
            .collect();
        Ok(json!({"channels": channels}))
    }
}

impl Method for Subscribe {
    async fn result(self, cx: &Cx<Stream>) -> std::result::Result<Value, No> {
        let channel = find(cx, &self.channel)?;
        no_session(&self.session)?;
        if self.info.is_some() || self.b64info.is_some_and(|info| !info.is_empty()) {
            return Err(Refusal::NOT_AVAILABLE.into());
        }
        let data = payload(self.data, self.b64data)?;
        let bytes = data.as_ref().map_or(0, |data| data.get().len());
        if self.user.is_empty() || bytes > DATA_BYTES_MAX {
            return Err(Refusal::BAD_REQUEST.into());
        }
        let own = self.overrides.unwrap_or_default().of(&channel)?;
        let own = channel::Own {
            expires_at: to_come(cx, self.expire_at)?,
            ..own
        };
        let since = self.recover_since;
        let whom = told::Subscribing {
            user: self.user,
            client: self.client,
            data,
            own,
            since: since.map(|since| StreamPosition {
                offset: since.offset,
                epoch: since.epoch,
            }),
        };
        told::subscribe(cx, &channel.name, whom).await?;
        Ok(json!({}))
    }
}

impl Overrides {
    /// What can hold for a subscription to that channel alone. The others are the channel's: whoever wants them otherwise wants another
    /// namespace.
    fn of(self, channel: &channel::Channel) -> std::result::Result<channel::Own, Refusal> {
        let value = |flag: Option<Flag>| flag.map(|flag| flag.value);
        let is_as = |flag: Option<Flag>, is: bool| value(flag).is_none_or(|wanted| wanted == is);
        let is_recoverable = channel.is_recoverable();
        let can_be = is_as(self.force_recovery, is_recoverable)
            && is_as(self.force_positioning, is_recoverable)
            && is_as(self.force_push_join_leave, channel.rules.join_leave);
        can_be.then_some(()).ok_or(Refusal::NOT_AVAILABLE)?;
        Ok(channel::Own {
            presence: value(self.presence),
            join_leave: value(self.join_leave),
            expires_at: None,
        })
    }
}

impl Method for Refresh {
    async fn result(self, cx: &Cx<Stream>) -> std::result::Result<Value, No> {
        no_session(&self.session)?;
        if self.user.is_empty() {
            return Err(Refusal::BAD_REQUEST.into());
        }
        // A connection lasts no longer than its token: who prolonged it here would prolong a session that has ended. So without an
        // end there is nothing that could be done, and a later one changes nothing.
        if self.info.is_some() || (!self.expired && self.expire_at <= 0) {
            return Err(Refusal::NOT_AVAILABLE.into());
        }
        let whom = ClientInfo {
            user: self.user,
            client: self.client,
        };
        let end_at = Some(self.expire_at.unsigned_abs()).filter(|_| !self.expired);
        told::expire(cx, whom, end_at).await?;
        Ok(json!({}))
    }
}

impl Method for Rpc {
    /// Calls what was built into the server. Nothing is, and Centrifugo's own answers the same then.
    async fn result(self, _: &Cx<Stream>) -> std::result::Result<Value, No> {
        Err(Refusal::METHOD_NOT_FOUND.into())
    }
}

impl Method for Unsubscribe {
    async fn result(self, cx: &Cx<Stream>) -> std::result::Result<Value, No> {
        let channel = find(cx, &self.channel)?;
        no_session(&self.session)?;
        told::unsubscribe(cx, &channel.name, self.user, self.client).await?;
        Ok(json!({}))
    }
}

impl Method for Disconnect {
    async fn result(self, cx: &Cx<Stream>) -> std::result::Result<Value, No> {
        no_session(&self.session)?;
        if self.user.is_empty() {
            return Err(Refusal::BAD_REQUEST.into());
        }
        let mut except = self.whitelist;
        // Whatever else stands there is no client.
        except.retain(|client| Uuid::parse_str(client).is_ok());
        if except.len() > WHITELIST_MAX {
            return Err(Refusal::LIMIT_EXCEEDED.into());
        }
        let whom = ClientInfo {
            user: self.user,
            client: self.client,
        };
        let end = self.ending.map(Ending::read).transpose()?;
        told::disconnect(cx, whom, end, except).await?;
        Ok(json!({}))
    }
}

impl Ending {
    fn read(self) -> std::result::Result<End, Refusal> {
        let is_sent = (3_000..5_000).contains(&self.code) && self.reason.len() <= REASON_BYTES_MAX;
        let code = u16::try_from(self.code).ok().filter(|_| is_sent);
        Ok(End {
            code: code.ok_or(Refusal::BAD_REQUEST)?,
            reason: self.reason.into(),
        })
    }
}

impl Method for Info {
    async fn result(self, cx: &Cx<Stream>) -> std::result::Result<Value, No> {
        let nodes = store::presence::nodes(&cx.db()).await?;
        let nodes: Vec<Value> = nodes
            .into_iter()
            .map(|node| json!({"uid": node.id, "name": node.id, "num_clients": node.clients, "uptime": node.uptime_seconds}))
            .collect();
        Ok(json!({"nodes": nodes}))
    }
}

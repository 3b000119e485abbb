//! The methods of the server API.

use std::collections::{BTreeMap, BTreeSet};

use nself_plugin_api::{prelude::*, tracing::warn};
use serde::Serialize;
use serde_json::{Value, json};

use super::types::{
    Broadcast, Channel, Channels, Disconnect, History, Info, Publish, Refresh, Rpc, Subscribe,
    Unsubscribe,
};
use crate::{
    Stream, channel,
    channels::{self, Published},
    protocol::{ClientInfo, Error as Refusal, StreamPosition},
    store, survey, told,
};

/// Channels of one broadcast.
const CHANNELS_MAX: usize = 1_000;
/// Bytes that a client is told with a subscription: they travel in a NOTIFY.
const DATA_BYTES_MAX: usize = 5_000;

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

impl Method for Publish {
    async fn result(self, cx: &Cx<Stream>) -> std::result::Result<Value, No> {
        find(cx, &self.channel)?;
        let published = publish(cx, self).await?;
        written(&published)
    }
}

async fn publish(cx: &Cx<Stream>, request: Publish) -> Result<Published> {
    let publish = channels::Publish {
        channel: request.channel,
        data: request.data,
        tags: request.tags,
        key: request.idempotency_key,
    };
    channels::publish(cx, publish).await
}

impl Method for Broadcast {
    async fn result(self, cx: &Cx<Stream>) -> std::result::Result<Value, No> {
        if self.channels.len() > CHANNELS_MAX {
            return Err(Refusal::LIMIT_EXCEEDED.into());
        }
        let mut responses = Vec::with_capacity(self.channels.len());
        for channel in self.channels {
            let one = Publish {
                channel,
                data: self.data.clone(),
                tags: self.tags.clone(),
                idempotency_key: self.idempotency_key.clone(),
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
        let bytes = self.data.as_ref().map_or(0, |data| data.get().len());
        if self.user.is_empty() || bytes > DATA_BYTES_MAX {
            return Err(Refusal::BAD_REQUEST.into());
        }
        let since = self.recover_since;
        let whom = told::Subscribing {
            user: self.user,
            client: self.client,
            data: self.data,
            since: since.map(|since| StreamPosition {
                offset: since.offset,
                epoch: since.epoch,
            }),
        };
        told::subscribe(cx, &channel.name, whom).await?;
        Ok(json!({}))
    }
}

impl Method for Refresh {
    async fn result(self, cx: &Cx<Stream>) -> std::result::Result<Value, No> {
        if self.user.is_empty() {
            return Err(Refusal::BAD_REQUEST.into());
        }
        // A connection lasts as long as its token: who prolonged it here would prolong a session that has ended.
        if !self.expired || self.expire_at != 0 {
            return Err(Refusal::NOT_AVAILABLE.into());
        }
        told::expire(cx, self.user, self.client).await?;
        Ok(json!({}))
    }
}

impl Method for Rpc {
    async fn result(self, _: &Cx<Stream>) -> std::result::Result<Value, No> {
        Err(Refusal::METHOD_NOT_FOUND.into())
    }
}

impl Method for Unsubscribe {
    async fn result(self, cx: &Cx<Stream>) -> std::result::Result<Value, No> {
        let channel = find(cx, &self.channel)?;
        told::unsubscribe(cx, &channel.name, self.user, self.client).await?;
        Ok(json!({}))
    }
}

impl Method for Disconnect {
    async fn result(self, cx: &Cx<Stream>) -> std::result::Result<Value, No> {
        if self.user.is_empty() {
            return Err(Refusal::BAD_REQUEST.into());
        }
        told::disconnect(cx, self.user, self.client).await?;
        Ok(json!({}))
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

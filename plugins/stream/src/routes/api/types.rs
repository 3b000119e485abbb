//! What is asked for, as Centrifugo's `api.proto` names it. Options that this server has no use for are passed over.

use std::collections::BTreeMap;

use nself_plugin_api::Schema;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A publication.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct Publish {
    /// The whole name.
    pub channel: String,
    /// What subscribers get.
    pub data: Box<RawValue>,
    /// Texts that they get beside it.
    #[serde(default)]
    pub tags: Option<BTreeMap<String, String>>,
    /// Makes the same publication within five minutes no second one.
    #[serde(default)]
    pub idempotency_key: Option<String>,
}

/// The same publication in several channels.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct Broadcast {
    /// Their whole names.
    pub channels: Vec<String>,
    /// What subscribers get.
    pub data: Box<RawValue>,
    /// Texts that they get beside it.
    #[serde(default)]
    pub tags: Option<BTreeMap<String, String>>,
    /// Makes the same publication within five minutes no second one.
    #[serde(default)]
    pub idempotency_key: Option<String>,
}

/// A channel.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct Channel {
    /// The whole name.
    pub channel: String,
}

/// Where a history is read from.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct Position {
    /// The last offset that is known.
    #[serde(default)]
    pub offset: i64,
    /// The epoch that it is of.
    #[serde(default)]
    pub epoch: String,
}

/// The history of a channel.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct History {
    /// The whole name.
    pub channel: String,
    /// 0 asks for the position alone, a negative one for all that may be had at once.
    #[serde(default)]
    pub limit: i64,
    /// From where on.
    #[serde(default)]
    pub since: Option<Position>,
    /// The newest first.
    #[serde(default)]
    pub reverse: bool,
}

/// Subscriptions of a user's connections to a channel.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct Subscribe {
    /// Who.
    pub user: String,
    /// The whole name.
    pub channel: String,
    /// Only this connection.
    #[serde(default)]
    pub client: String,
    /// What the client is told with it.
    #[serde(default)]
    pub data: Option<Box<RawValue>>,
    /// From where on, for who was there before.
    #[serde(default)]
    pub recover_since: Option<Position>,
}

/// The end of what a user's connections have of their tokens.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct Refresh {
    /// Who.
    pub user: String,
    /// Only this connection.
    #[serde(default)]
    pub client: String,
    /// They are at their end now, and come again with newer tokens.
    #[serde(default)]
    pub expired: bool,
    /// Another end, which is not available: it stands in the token.
    #[serde(default)]
    pub expire_at: i64,
}

/// A call.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct Rpc {}

/// Which channels are asked for.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default)]
pub(crate) struct Channels {
    /// Those whose names are like this: `*` stands for anything, `?` for any letter.
    pub pattern: String,
}

/// The end of a user's subscriptions to a channel.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct Unsubscribe {
    /// Who.
    pub user: String,
    /// The whole name.
    pub channel: String,
    /// Only this connection.
    #[serde(default)]
    pub client: String,
}

/// The end of a user's connections.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct Disconnect {
    /// Who.
    pub user: String,
    /// Only this connection.
    #[serde(default)]
    pub client: String,
}

/// What hosts there are.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct Info {}

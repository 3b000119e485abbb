//! What is asked for, as Centrifugo's `api.proto` names it. What changes nothing here is passed over: `delta` of a publication (its
//! namespace says whether there are deltas), and the `version` of one. What would have to change something and cannot is refused.

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
    #[serde(default)]
    pub data: Option<Box<RawValue>>,
    /// The same in base64, instead; it has to be JSON all the same.
    #[serde(default)]
    pub b64data: Option<String>,
    /// Texts that they get beside it.
    #[serde(default)]
    pub tags: Option<BTreeMap<String, String>>,
    /// Makes the same publication within five minutes no second one.
    #[serde(default)]
    pub idempotency_key: Option<String>,
    /// Only for who is there at the moment: nothing of it is kept.
    #[serde(default)]
    pub skip_history: bool,
}

/// The same publication in several channels.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct Broadcast {
    /// Their whole names.
    pub channels: Vec<String>,
    /// What subscribers get.
    #[serde(default)]
    pub data: Option<Box<RawValue>>,
    /// The same in base64, instead.
    #[serde(default)]
    pub b64data: Option<String>,
    /// Texts that they get beside it.
    #[serde(default)]
    pub tags: Option<BTreeMap<String, String>>,
    /// Makes the same publication within five minutes no second one.
    #[serde(default)]
    pub idempotency_key: Option<String>,
    /// Only for who is there at the moment.
    #[serde(default)]
    pub skip_history: bool,
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
    /// Not available: no connection here has one.
    #[serde(default)]
    pub session: String,
    /// What the client is told with it.
    #[serde(default)]
    pub data: Option<Box<RawValue>>,
    /// The same in base64, instead.
    #[serde(default)]
    pub b64data: Option<String>,
    /// Not available: nobody is more than their id.
    #[serde(default)]
    pub info: Option<Box<RawValue>>,
    /// The same.
    #[serde(default)]
    pub b64info: Option<String>,
    /// When the subscription ends by itself, in seconds since 1970.
    #[serde(default)]
    pub expire_at: i64,
    /// From where on, for who was there before.
    #[serde(default)]
    pub recover_since: Option<Position>,
    /// What is to hold for it, whatever holds for its namespace.
    #[serde(default, rename = "override")]
    pub overrides: Option<Overrides>,
}

/// What is to hold for one subscription.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default)]
pub(crate) struct Overrides {
    /// Whether it stands in the presence.
    pub presence: Option<Flag>,
    /// Whether others are told that it comes and goes.
    pub join_leave: Option<Flag>,
    /// No other than the namespace says.
    pub force_recovery: Option<Flag>,
    /// The same.
    pub force_positioning: Option<Flag>,
    /// The same.
    pub force_push_join_leave: Option<Flag>,
}

/// Yes or no; where it is not there, what holds anyway.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct Flag {
    /// Which.
    #[serde(default)]
    pub value: bool,
}

/// An earlier end of a user's connections than that of their tokens.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct Refresh {
    /// Who.
    pub user: String,
    /// Only this connection.
    #[serde(default)]
    pub client: String,
    /// Not available: no connection here has one.
    #[serde(default)]
    pub session: String,
    /// They are at their end now, and come again with newer tokens.
    #[serde(default)]
    pub expired: bool,
    /// When they are, in seconds since 1970. A connection never outlives its token.
    #[serde(default)]
    pub expire_at: i64,
    /// Not available: nobody is more than their id.
    #[serde(default)]
    pub info: Option<Box<RawValue>>,
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
    /// Not available: no connection here has one.
    #[serde(default)]
    pub session: String,
}

/// The end of a user's connections.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct Disconnect {
    /// Who.
    pub user: String,
    /// Only this connection.
    #[serde(default)]
    pub client: String,
    /// Not available: no connection here has one.
    #[serde(default)]
    pub session: String,
    /// Connections that go on.
    #[serde(default)]
    pub whitelist: Vec<String>,
    /// What their clients are told; 3503 where nothing is said.
    #[serde(default, rename = "disconnect")]
    pub ending: Option<Ending>,
}

/// What a client is told at its end.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct Ending {
    /// From 3000 to 4999. By 3000 to 3499 and 4000 to 4499 it comes again.
    pub code: u32,
    /// For people who look for why.
    #[serde(default)]
    pub reason: String,
}

/// What hosts there are.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct Info {}

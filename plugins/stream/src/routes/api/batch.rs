//! Several methods in one request.

use nself_plugin_api::{Schema, prelude::*};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    methods::{HistoryRemove, Presence, PresenceStats, carry_out},
    types::{
        Broadcast, Channel, Channels, Disconnect, History, Info, Publish, Refresh, Rpc, Subscribe,
        Unsubscribe,
    },
};
use crate::{Stream, protocol::Error as Refusal};

/// Methods of one batch.
const COMMANDS_MAX: usize = 1_000;

/// Methods, to be carried out in their order.
#[derive(Debug, Deserialize, Schema)]
pub(crate) struct Batch {
    commands: Vec<Command>,
}

/// One of them.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default)]
struct Command {
    publish: Option<Publish>,
    broadcast: Option<Broadcast>,
    history: Option<History>,
    presence: Option<Channel>,
    presence_stats: Option<Channel>,
    unsubscribe: Option<Unsubscribe>,
    disconnect: Option<Disconnect>,
    info: Option<Info>,
    subscribe: Option<Subscribe>,
    refresh: Option<Refresh>,
    rpc: Option<Rpc>,
    channels: Option<Channels>,
    history_remove: Option<Channel>,
}

impl Batch {
    /// An answer for each, under the method's name.
    pub(super) async fn carry_out(self, cx: &Cx<Stream>) -> Value {
        if self.commands.len() > COMMANDS_MAX {
            return json!({"error": Refusal::LIMIT_EXCEEDED});
        }
        let mut replies = Vec::with_capacity(self.commands.len());
        for command in self.commands {
            replies.push(command.carry_out(cx).await);
        }
        json!({"replies": replies})
    }
}

impl Command {
    async fn carry_out(self, cx: &Cx<Stream>) -> Value {
        let (name, answer) = if let Some(request) = self.publish {
            ("publish", carry_out(cx, request).await)
        } else if let Some(request) = self.broadcast {
            ("broadcast", carry_out(cx, request).await)
        } else if let Some(request) = self.history {
            ("history", carry_out(cx, request).await)
        } else if let Some(request) = self.presence {
            ("presence", carry_out(cx, Presence(request)).await)
        } else if let Some(request) = self.presence_stats {
            (
                "presence_stats",
                carry_out(cx, PresenceStats(request)).await,
            )
        } else if let Some(request) = self.unsubscribe {
            ("unsubscribe", carry_out(cx, request).await)
        } else if let Some(request) = self.disconnect {
            ("disconnect", carry_out(cx, request).await)
        } else if let Some(request) = self.info {
            ("info", carry_out(cx, request).await)
        } else if let Some(request) = self.subscribe {
            ("subscribe", carry_out(cx, request).await)
        } else if let Some(request) = self.refresh {
            ("refresh", carry_out(cx, request).await)
        } else if let Some(request) = self.rpc {
            ("rpc", carry_out(cx, request).await)
        } else if let Some(request) = self.channels {
            ("channels", carry_out(cx, request).await)
        } else if let Some(request) = self.history_remove {
            (
                "history_remove",
                carry_out(cx, HistoryRemove(request)).await,
            )
        } else {
            return json!({"error": Refusal::METHOD_NOT_FOUND});
        };
        // What was refused stands beside the methods, a result under its own.
        match answer {
            Value::Object(mut answer) if answer.contains_key("result") => {
                json!({name: answer.remove("result")})
            }
            refused => refused,
        }
    }
}

//! `nself.hub/1`: a plugin's hold on the [hub](crate::hub). Sockets are named by numbers, and a number of another plugin's socket
//! is none; topics are reached by who made them and by nobody else.

use std::sync::{Arc, Mutex, PoisonError};

use nself_plugin_api::abi::{
    bytes::{Bytes, Str},
    capability::hub as abi,
    error::{Error, Outcome},
    response::message,
};

use super::{Grant, error::error};
use crate::hub::{BINARY, Close, Connection, Hub, Policy, Rules, TEXT, Topic};

/// The hub as one plugin instance sees it.
pub struct HubCapability {
    hub: Arc<Hub>,
    plugin: Arc<str>,
    /// What was asked for last: nearly all connections of a plugin have the same rules, and share them.
    rules: Mutex<Option<Arc<Rules>>>,
}

impl HubCapability {
    /// The hub for the plugin that holds `grant`.
    pub fn capability(grant: &Grant, hub: Arc<Hub>) -> abi::Hub {
        abi::Hub::new(Arc::new(Self {
            hub,
            plugin: Arc::clone(&grant.plugin),
            rules: Mutex::default(),
        }))
    }

    fn shared(&self, rules: Rules) -> Arc<Rules> {
        let mut last = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(last) if **last == rules => Arc::clone(last),
            _ => Arc::clone(last.insert(Arc::new(rules))),
        }
    }

    fn encode(&self, kind: u32, payload: &[u8]) -> Result<abi::Frame, Error> {
        let is_text = kind == message::TEXT;
        if (!is_text && kind != message::BINARY)
            || (is_text && std::str::from_utf8(payload).is_err())
        {
            let cause = format!(
                "plugin {} made a frame of kind {kind} of {} bytes",
                self.plugin,
                payload.len()
            );
            return Err(error(
                500,
                "HUB_FRAME_INVALID",
                "a message is UTF-8 text, or bytes",
                cause,
            ));
        }
        let opcode = if is_text { TEXT } else { BINARY };
        Ok(self.hub.frame(opcode, payload))
    }

    fn find(&self, number: u64, rules: Rules) -> Result<abi::Connection, Error> {
        let connection = self.hub.find(number, &self.plugin).ok_or_else(|| {
            error(
                500,
                "HUB_SOCKET_UNKNOWN",
                "the socket has ended",
                format!("plugin {} has no socket {number}", self.plugin),
            )
        })?;
        connection.set_rules(self.shared(rules));
        Ok(abi::Connection::new(Arc::new(HubConnection(connection))))
    }
}

fn close(code: u32, reason: Str<'_>) -> Close {
    Close::new(u16::try_from(code).unwrap_or(1000), reason.as_str())
}

impl abi::HubProvider for HubCapability {
    fn frame(&self, kind: u32, payload: Bytes) -> Outcome<abi::Frame> {
        self.encode(kind, payload.as_slice()).into()
    }

    fn connection(
        &self,
        socket: u64,
        bytes_max: u64,
        slow_code: u32,
        slow_reason: Str<'_>,
        restart_code: u32,
        restart_reason: Str<'_>,
    ) -> Outcome<abi::Connection> {
        let rules = Rules {
            bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX),
            slow: close(slow_code, slow_reason),
            restart: Some(close(restart_code, restart_reason)),
        };
        self.find(socket, rules).into()
    }

    fn topic(&self, policy: u32) -> Outcome<abi::Topic> {
        let policy = match policy {
            abi::policy::LATEST => Policy::Latest,
            abi::policy::DROP_OLDEST => Policy::DropOldest,
            // The one that loses nothing in silence.
            _ => Policy::Recover,
        };
        let topic = HubTopic {
            topic: self.hub.topic(policy),
            hub: Arc::clone(&self.hub),
            plugin: Arc::clone(&self.plugin),
        };
        Ok(abi::Topic::new(Arc::new(topic))).into()
    }
}

struct HubConnection(Arc<Connection>);

impl abi::ConnectionProvider for HubConnection {
    fn send(&self, frame: abi::Frame) -> u32 {
        self.0.send(frame).into()
    }

    fn close(&self, code: u32, reason: Str<'_>) {
        self.0.close(&close(code, reason));
    }

    fn is_closing(&self) -> u32 {
        self.0.is_closing().into()
    }

    fn cut(&self) {
        self.0.cut();
    }

    fn set_deadline(&self, after_ms: u64, code: u32, reason: Str<'_>) {
        let after = std::time::Duration::from_millis(after_ms);
        let deadline = (after_ms > 0).then(|| (after, close(code, reason)));
        self.0.set_deadline(deadline);
    }

    fn waiting(&self) -> u64 {
        self.0.waiting() as u64
    }
}

struct HubTopic {
    topic: Arc<Topic>,
    hub: Arc<Hub>,
    plugin: Arc<str>,
}

impl abi::TopicProvider for HubTopic {
    fn add(&self, socket: u64) -> u32 {
        let connection = self.hub.find(socket, &self.plugin);
        connection
            .is_some_and(|connection| self.topic.add(&connection))
            .into()
    }

    fn remove(&self, socket: u64) -> u32 {
        self.topic.remove(socket).into()
    }

    fn publish(&self, frame: abi::Frame, except: u64) -> u64 {
        self.topic.publish(&frame, except) as u64
    }

    fn members(&self) -> u64 {
        self.topic.members() as u64
    }
}

//! Fan-out to the plugin's WebSockets: what goes to many is encoded once, and nobody waits for a client that does not keep up.
//!
//! ```no_run
//! # use nself_plugin_api::{Context, Result, capability::hub::{Limits, Policy, Topic}, prelude::*};
//! # struct News { topic: Topic }
//! # async fn create(context: Context) -> Result<News> {
//! // Once, when the plugin is created:
//! let topic = context.hub().topic(Policy::Recover)?;
//! # Ok(News { topic })
//! # }
//! async fn listen(cx: Cx<News>) -> Result<WebSocket> {
//!     Ok(WebSocket::new(move |socket| {
//!         let cx = cx.clone();
//!         async move {
//!             let connection = cx.hub().connection(&socket, &Limits::default())?;
//!             connection.send(&cx.hub().text("welcome")?);
//!             cx.plugin().topic.add(&connection);
//!             // The topic writes; this one reads, until the client has gone.
//!             while !matches!(socket.receive().await?, Message::Close(..)) {}
//!             Ok(())
//!         }
//!     }))
//! }
//!
//! fn publish(cx: &Cx<News>, news: &str) -> Result<()> {
//!     cx.plugin().topic.publish(&cx.hub().text(news)?);
//!     Ok(())
//! }
//! ```

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{granted, millis};
use crate::{
    abi::{
        capability::hub::{self as raw, policy},
        response::message,
    },
    cx::Handles,
    error::Result,
    respond::Socket,
};

/// Makes frames, connections and topics.
pub struct Hub<'a>(pub(crate) &'a Arc<Handles>);

/// A message as it goes over the wire, shared by all that it goes to. Cheap to clone.
#[derive(Clone)]
pub struct Frame(raw::Frame);

/// Why a connection is closed: a code (RFC 6455, section 7.4) and a reason of at most 123 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close<'a> {
    /// The code.
    pub code: u16,
    /// The reason.
    pub reason: &'a str,
}

/// What holds for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits<'a> {
    /// Bytes that may wait for it.
    pub queue_bytes_max: u64,
    /// How it is closed when more would wait.
    pub slow: Close<'a>,
    /// How it is closed when the plugin stops: one connection after the other, so that not all come back at once.
    pub restart: Close<'a>,
}

impl Default for Limits<'_> {
    fn default() -> Self {
        Self {
            queue_bytes_max: 1 << 20,
            slow: Close {
                code: 1008,
                reason: "too slow",
            },
            restart: Close {
                code: 1012,
                reason: "the plugin is stopping, connect again",
            },
        }
    }
}

/// What becomes of a topic's frames for which a connection has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The connection is closed ([`Limits::slow`]), and its client recovers what it has missed when it is back.
    Recover,
    /// Of a connection that does not keep up only the newest frame of the topic is kept: for what replaces what was before it.
    Latest,
    /// The oldest that wait go: for what is stale in a second.
    DropOldest,
}

/// An open socket as the hub has it. Sends never wait. Dropping it neither closes the socket nor takes it out of topics: that
/// is for who serves the socket.
pub struct Connection {
    raw: raw::Connection,
    number: u64,
}

/// Connections that are sent the same. They leave when their socket ends; dropped, the topic is gone.
pub struct Topic(raw::Topic);

impl Hub<'_> {
    /// A text message.
    ///
    /// # Errors
    ///
    /// When the plugin lacks the capability.
    pub fn text(&self, text: impl Into<String>) -> Result<Frame> {
        self.frame(message::TEXT, text.into().into())
    }

    /// A binary message.
    ///
    /// # Errors
    ///
    /// When the plugin lacks the capability.
    pub fn binary(&self, bytes: impl Into<Bytes>) -> Result<Frame> {
        self.frame(message::BINARY, bytes.into().into())
    }

    fn frame(&self, kind: u32, payload: crate::abi::bytes::Bytes) -> Result<Frame> {
        let frame = granted!(self, hub, "nself.hub/1")?.frame(kind, payload);
        Ok(Frame(frame.into_result()?))
    }

    /// The connection of a socket of this plugin, for who serves it. What [`Socket::send`] sends is in the same queue.
    ///
    /// # Errors
    ///
    /// `HUB_SOCKET_UNKNOWN` when the socket has ended.
    pub fn connection(&self, socket: &Socket, limits: &Limits<'_>) -> Result<Connection> {
        let hub = granted!(self, hub, "nself.hub/1")?;
        // Where there is a hub, its sockets have numbers.
        let number = socket.number_in_hub().unwrap_or_default();
        let Limits {
            queue_bytes_max,
            slow,
            restart,
        } = *limits;
        let connection = hub.connection(
            number,
            queue_bytes_max,
            slow.code.into(),
            slow.reason.into(),
            restart.code.into(),
            restart.reason.into(),
        );
        Ok(Connection {
            raw: connection.into_result()?,
            number,
        })
    }

    /// A topic without members.
    ///
    /// # Errors
    ///
    /// When the plugin lacks the capability.
    pub fn topic(&self, policy: Policy) -> Result<Topic> {
        let policy = match policy {
            Policy::Recover => policy::RECOVER,
            Policy::Latest => policy::LATEST,
            Policy::DropOldest => policy::DROP_OLDEST,
        };
        let topic = granted!(self, hub, "nself.hub/1")?.topic(policy);
        Ok(Topic(topic.into_result()?))
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes)", self.0.as_slice().len())
    }
}

impl Connection {
    /// Sends, in the order of the calls; whether it was taken. A closing connection takes nothing.
    pub fn send(&self, frame: &Frame) -> bool {
        self.raw.send(frame.0.clone()) != 0
    }

    /// Ends the connection after what was sent before. The first reason counts. A client that does not take it is cut off.
    pub fn close(&self, close: Close<'_>) {
        self.raw.close(close.code.into(), close.reason.into());
    }

    /// Whether it has been ended, if only because the client did not keep up.
    pub fn is_closing(&self) -> bool {
        self.raw.is_closing() != 0
    }

    /// Gives it up: nothing more is written, and the future that serves the socket is dropped.
    pub fn cut(&self) {
        self.raw.cut();
    }

    /// Closes it when this time has passed, within a tenth of a second, unless another deadline is set before.
    pub fn set_deadline(&self, after: Duration, close: Close<'_>) {
        let after = millis(after).max(1);
        self.raw
            .set_deadline(after, close.code.into(), close.reason.into());
    }

    /// Takes the deadline away.
    pub fn clear_deadline(&self) {
        self.raw.set_deadline(0, 0, "".into());
    }

    /// Bytes that wait to be written.
    pub fn waiting(&self) -> u64 {
        self.raw.waiting()
    }
}

impl Topic {
    /// Lets a connection in, for what is published from now on; false when its socket has ended.
    pub fn add(&self, connection: &Connection) -> bool {
        self.0.add(connection.number) != 0
    }

    /// Takes a connection out; whether it was in it.
    pub fn remove(&self, connection: &Connection) -> bool {
        self.0.remove(connection.number) != 0
    }

    /// Sends to all members, behind what each of them was sent before; how many they are.
    pub fn publish(&self, frame: &Frame) -> u64 {
        self.0.publish(frame.0.clone(), 0)
    }

    /// Sends to all members but one.
    pub fn publish_except(&self, frame: &Frame, except: &Connection) -> u64 {
        self.0.publish(frame.0.clone(), except.number)
    }

    /// How many members there are.
    pub fn members(&self) -> u64 {
        self.0.members()
    }
}

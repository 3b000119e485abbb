//! Messages between the hosts of an installation, for whoever is there at the moment: on channels of the plugin's own, by Redis.
//!
//! ```no_run
//! # use nself_plugin_api::{capability::pubsub::Heard, futures_util::StreamExt, prelude::*};
//! # struct Board;
//! async fn follow(cx: Cx<Board>) -> Result<()> {
//!     let mut heard = cx.pubsub().subscribe(&["moves"]).await?;
//!     while let Some(heard) = heard.next().await {
//!         match heard? {
//!             Heard::Message { message, .. } => show(&message),
//!             Heard::Missed => look_for_oneself(),
//!         }
//!     }
//!     Ok(())
//! }
//! # fn show(_: &[u8]) {}
//! # fn look_for_oneself() {}
//! ```

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use futures_util::Stream;

use super::granted;
use crate::{
    abi::{
        self,
        bytes::{Slice, Str},
    },
    cx::Handles,
    error::{Error, Result},
};

/// Publishes and subscribes. Nothing is kept: what must not be lost belongs into a table.
pub struct PubSub<'a>(pub(crate) &'a Arc<Handles>);

impl PubSub<'_> {
    /// Whether the operator has configured what carries messages. Where it has not, a plugin that needs a bridge between hosts
    /// uses NOTIFY and [`Db::listen`](super::db::Db::listen).
    ///
    /// # Errors
    ///
    /// When the plugin lacks the capability.
    pub fn is_on(&self) -> Result<bool> {
        Ok(granted!(self, pubsub, "nself.pubsub/1")?.is_on() == 1)
    }

    /// Publishes to whoever is subscribed at this moment, on all hosts and this one.
    ///
    /// # Errors
    ///
    /// `PUBSUB_AWAY` at once, when Redis is: nobody got it, nobody will. `PUBSUB_UNCERTAIN`, within a second, when Redis did not
    /// answer: some may have got it, or still get it. `PUBSUB_OFF` when there is none.
    pub async fn publish(&self, channel: &str, message: impl Into<Bytes>) -> Result<()> {
        Ok(granted!(self, pubsub, "nself.pubsub/1")?
            .publish(channel.into(), message.into().into())
            .await?)
    }

    /// Subscribes to these channels. What is published once this has returned is heard, unless Redis is away: then it is
    /// subscribed when that is back, and hears [`Heard::Missed`] first. Dropped, it is subscribed no more.
    ///
    /// # Errors
    ///
    /// `PUBSUB_OFF` when the operator has configured no Redis, `PUBSUB_REFUSED` when Redis lets nobody subscribe.
    pub async fn subscribe(&self, channels: &[&str]) -> Result<Messages> {
        let channels: Vec<Str<'_>> = channels.iter().map(|channel| Str::new(channel)).collect();
        // A future of its own: what is lent here must be given back before it waits.
        let subscribing =
            granted!(self, pubsub, "nself.pubsub/1")?.subscribe(Slice::new(&channels));
        drop(channels);
        Ok(Messages(subscribing.await?))
    }
}

/// Something heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A message.
    Message {
        /// Where.
        channel: String,
        /// What.
        message: Bytes,
    },
    /// Some may have been missed: the connection was cut, or this reader was slower than the others and its queue full.
    Missed,
}

/// Messages of the channels of one subscription, in the order in which Redis took them.
pub struct Messages(abi::stream::Stream);

impl Stream for Messages {
    type Item = Result<Heard>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0)
            .poll_next(cx)
            .map(|item| item.map(|chunk| read(chunk?.into())))
    }
}

/// A chunk as it crosses.
fn read(mut chunk: Bytes) -> Result<Heard> {
    if chunk.is_empty() {
        return Ok(Heard::Missed);
    }
    let length = chunk.try_get_u16_le().map(usize::from);
    match length {
        Ok(length) if length <= chunk.len() => {
            let channel = chunk.split_to(length);
            let channel = String::from_utf8_lossy(&channel).into_owned();
            Ok(Heard::Message {
                channel,
                message: chunk,
            })
        }
        _ => Err(Error::new(500, "INTERNAL", "a message does not read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_as_it_crosses_and_half_of_one_does_not() {
        let heard = read(Bytes::from_static(b"\x04\0newstea")).expect("it reads");
        let (channel, message) = ("news".to_owned(), Bytes::from_static(b"tea"));
        assert_eq!(heard, Heard::Message { channel, message });
        assert_eq!(read(Bytes::new()).expect("it reads"), Heard::Missed);
        for broken in [&b"\x04"[..], b"\x04\0new"] {
            assert!(read(Bytes::copy_from_slice(broken)).is_err(), "{broken:?}");
        }
    }
}

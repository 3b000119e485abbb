//! `nself.pubsub/1`: messages between the hosts of an installation, for whoever is there at the moment. Redis carries them; without
//! one the capability says so, and a plugin tells itself by NOTIFY, which its own database login may.
//!
//! A channel is the plugin's own: Redis knows it as `<plugin>@<database>:<channel>`. The database's number is part of it, as Redis
//! keeps keys apart by database, and channels not.

mod error;
mod link;
mod reader;

use std::{fmt, sync::Arc};

use nself_plugin_api::abi::{
    bytes::{Bytes, Slice, Str},
    capability::pubsub::{PubSub, PubSubProvider},
    error::Error,
    stream::Stream,
};

use self::link::Link;
use super::{Grant, kv::KvError};

pub use self::error::PubSubError;

/// Longest name of a channel in bytes, without what the host puts before it.
pub const CHANNEL_BYTES_MAX: usize = 512;

/// Channels of one subscription.
pub const CHANNELS_MAX: usize = 1_024;

/// Largest message in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// What carries messages, and who reads them. One per host; connects when the first plugin is granted the capability.
pub struct Messages {
    link: Link,
    database: i64,
}

// By hand: the client shows the address, and the password is part of what it was made of.
impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}

impl Messages {
    /// By the Redis at `url`.
    ///
    /// # Errors
    ///
    /// [`KvError::Url`] when it cannot be read; it is not in the text.
    pub fn redis(url: &str) -> Result<Self, KvError> {
        let client = super::kv::redis::client(url)?;
        let database = client.get_connection_info().redis_settings().db();
        Ok(Self {
            link: Link::new(client),
            database,
        })
    }

    /// What stands before the names of a plugin's channels. Its id has no `@`, so no two plugins meet.
    fn prefix(&self, plugin: &str) -> String {
        format!("{plugin}@{}:", self.database)
    }
}

/// The messages as one plugin sees them.
pub struct PubSubCapability {
    messages: Option<(Arc<Messages>, String)>,
}

impl PubSubCapability {
    /// Of the plugin that holds `grant`. Call it inside the runtime.
    pub fn capability(grant: &Grant, messages: Option<Arc<Messages>>) -> PubSub {
        let messages = messages.map(|messages| {
            messages.link.start();
            let prefix = messages.prefix(&grant.plugin);
            (messages, prefix)
        });
        PubSub::new(Arc::new(Self { messages }))
    }

    /// The link, and the channels as Redis knows them.
    fn locate(&self, channels: &[Str<'_>]) -> Result<(Arc<Messages>, Vec<String>), PubSubError> {
        let (messages, prefix) = self.messages.as_ref().ok_or(PubSubError::Off)?;
        if channels.is_empty() || channels.len() > CHANNELS_MAX {
            return Err(PubSubError::Channels {
                count: channels.len(),
            });
        }
        let named = channels.iter().map(|channel| {
            let name = channel.to_option().filter(|name| !name.is_empty());
            let name = name.filter(|name| name.len() <= CHANNEL_BYTES_MAX);
            let name = name.ok_or(PubSubError::Channel)?;
            Ok(format!("{prefix}{name}"))
        });
        Ok((Arc::clone(messages), named.collect::<Result<_, _>>()?))
    }
}

impl PubSubProvider for PubSubCapability {
    fn is_on(&self) -> u32 {
        self.messages.is_some().into()
    }

    fn publish(
        &self,
        channel: Str<'_>,
        message: Bytes,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let located = self.locate(&[channel]);
        async move {
            let (messages, channels) = located?;
            let bytes = message.as_slice().len();
            if bytes > MESSAGE_BYTES_MAX {
                return Err(PubSubError::TooLarge { bytes }.into());
            }
            let channel = channels.first().expect("as many as were asked for");
            Ok(messages.link.publish(channel, message.as_slice()).await?)
        }
    }

    fn subscribe(
        &self,
        channels: Slice<'_, Str<'_>>,
    ) -> impl Future<Output = Result<Stream, Error>> + Send + 'static {
        let located = self.locate(channels.as_slice());
        async move {
            let (messages, channels) = located?;
            Ok(messages.link.subscribe(channels).await?)
        }
    }
}

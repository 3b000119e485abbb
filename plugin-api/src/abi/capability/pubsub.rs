//! Messages between the hosts of an installation, for whoever is there at the moment.

use crate::abi::{
    bytes::{Bytes, Slice, Str},
    interface::interface,
    stream::Stream,
};

interface! {
    /// Channels of the plugin's own. What is published reaches those who are subscribed at that moment, at most once.
    pub interface PubSub: PubSubProvider / PubSubTable = "nself.pubsub/1" {
        /// 1 when the operator has configured what carries messages (Redis); without it the other two fail.
        sync fn is_on() -> u32;
        /// Publishes, to all hosts and this one.
        async fn publish(channel: Str<'_>, message: Bytes);
        /// What is published on these channels from now on. A chunk is a message: the length of its channel's name (two
        /// bytes, little-endian), the name, the message. An empty chunk says that some before it may have been missed.
        async fn subscribe(channels: Slice<'_, Str<'_>>) -> Stream;
    }
}

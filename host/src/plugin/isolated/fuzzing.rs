//! A fuzz target: messages of a plugin's process, which may send anything.

use bytes::Bytes;
use nself_plugin_api::abi::wire::Parcel;

use super::message::Message;

/// What reads is, written again, what it was read from.
pub(crate) fn message(data: &[u8]) {
    let Ok(message) = Message::decode(Bytes::copy_from_slice(data)) else {
        return;
    };
    let written = message.head.encode(&Parcel {
        bytes: message.bytes.into(),
        objects: message.objects,
    });
    let (length, written) = written.split_first_chunk().expect("a length");
    assert_eq!(written, data);
    assert_eq!(u32::from_le_bytes(*length) as usize, data.len());
}

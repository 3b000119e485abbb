//! Frames as clients see them, for as little as that can cost: what is counted are messages, and what they say is not looked at, but for the
//! line breaks between those that share a frame, as Centrifugo's protocol has it. No message has one in it.

use tokio::io::{AsyncRead, AsyncReadExt};

use super::MESSAGE_BYTES;
use crate::{Failure, Result};

/// Where in the stream of bytes a client is.
#[derive(Default)]
pub(super) struct Frames {
    head: [u8; 10],
    head_bytes: usize,
    /// Bytes of the payload that are still to come.
    left: usize,
    /// They are of messages.
    is_message: bool,
}

/// What was among some bytes.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) messages: usize,
    /// `{}`, which a client of Centrifugo's protocol answers with the same.
    pub(super) pings: usize,
}

impl Frames {
    pub(super) fn see(&mut self, mut bytes: &[u8]) -> Seen {
        let mut seen = Seen::default();
        loop {
            let (payload, rest) = bytes.split_at(self.left.min(bytes.len()));
            (self.left, bytes) = (self.left - payload.len(), rest);
            if self.is_message {
                seen.messages += memchr::memchr_iter(b'\n', payload).count();
            }
            let Some((first, rest)) = bytes.split_first() else {
                return seen;
            };
            self.head[self.head_bytes] = *first;
            (self.head_bytes, bytes) = (self.head_bytes + 1, rest);
            if let Some(length) = length(&self.head[..self.head_bytes]) {
                (self.head_bytes, self.left) = (0, length);
                // Whatever is shorter says something about the connection.
                self.is_message = length >= MESSAGE_BYTES;
                seen.messages += usize::from(self.is_message);
                seen.pings += usize::from(length == 2 && self.head[0] == 0x81);
            }
        }
    }
}

/// Bytes of the payload, once the header is whole.
fn length(head: &[u8]) -> Option<usize> {
    match *head {
        [_, short @ ..=125] => Some(usize::from(short)),
        [_, 126, high, low] => Some(usize::from(u16::from_be_bytes([high, low]))),
        [_, 127, ref long @ ..] => {
            let long = u64::from_be_bytes(long.try_into().ok()?);
            usize::try_from(long).ok()
        }
        _ => None,
    }
}

/// The payload of the next frame, and not a byte more.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<String> {
    let mut head = Vec::new();
    let bytes = loop {
        head.push(stream.read_u8().await?);
        if let Some(bytes) = length(&head) {
            break bytes;
        }
    };
    let mut payload = vec![0; bytes];
    stream.read_exact(&mut payload).await?;
    String::from_utf8(payload).map_err(|_| Failure::from("a frame that is no text"))
}

/// A message of a client, masked with zeros.
pub(super) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    if let Ok(short @ ..=125) = u8::try_from(payload.len()) {
        frame.push(0x80 | short);
    } else {
        let length = u16::try_from(payload.len()).expect("a short message");
        frame.push(0xfe);
        frame.extend(length.to_be_bytes());
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

//! What the two processes say to each other: messages of one form, each with its length before it.

use bytes::Bytes;
use nself_plugin_api::abi::wire::{Garbled, Parcel};

/// A message that a plugin's process may send; what is longer, such as a chunk of a body, is not sent in one piece.
pub(super) const BYTES_MAX: u32 = 64 << 20;
/// Of what comes before numbers of objects and values.
const HEAD_BYTES: usize = 31;

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Call an object; the answer comes when there is one.
    Call = 1,
    /// Call an object; nobody waits for the answer.
    Tell = 2,
    /// What a call came to.
    Answer = 3,
    /// Why it did not.
    Failure = 4,
    /// Nobody waits for that call any more.
    Cancel = 5,
    /// An object is not needed any more.
    Release = 6,
}

/// What stands before the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    /// Place of the function in the object's interface.
    pub(super) method: u16,
    /// The sender's number of the call; of an answer, the receiver's.
    pub(super) call: u64,
    /// The receiver's call that the sender works on: in whose name it asks.
    pub(super) behalf: u64,
    /// The receiver's number of the object.
    pub(super) object: u64,
}

impl Head {
    /// Of a message that is about a call and no object.
    pub(super) fn of(kind: Kind, call: u64) -> Self {
        Self {
            kind,
            method: 0,
            call,
            behalf: 0,
            object: 0,
        }
    }

    /// The message with these values, its length before it.
    pub(super) fn encode(&self, parcel: &Parcel) -> Vec<u8> {
        let length = HEAD_BYTES + parcel.objects.len() * size_of::<u64>() + parcel.bytes.len();
        let mut bytes = Vec::with_capacity(size_of::<u32>() + length);
        // What does not fit is too long for its reader as well, who ends the link.
        bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        bytes.push(self.kind as u8);
        bytes.extend(self.method.to_le_bytes());
        bytes.extend(self.call.to_le_bytes());
        bytes.extend(self.behalf.to_le_bytes());
        bytes.extend(self.object.to_le_bytes());
        let count = u32::try_from(parcel.objects.len()).unwrap_or(u32::MAX);
        bytes.extend(count.to_le_bytes());
        for number in &parcel.objects {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend_from_slice(&parcel.bytes);
        bytes
    }
}

/// A message that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) head: Head,
    pub(super) objects: Vec<u64>,
    pub(super) bytes: Bytes,
}

impl Message {
    /// What came behind its length.
    pub(super) fn decode(mut bytes: Bytes) -> Result<Self, Garbled> {
        let head = Head {
            kind: match take::<1>(&mut bytes)? {
                [1] => Kind::Call,
                [2] => Kind::Tell,
                [3] => Kind::Answer,
                [4] => Kind::Failure,
                [5] => Kind::Cancel,
                [6] => Kind::Release,
                _ => return Err(Garbled),
            },
            method: u16::from_le_bytes(take(&mut bytes)?),
            call: u64::from_le_bytes(take(&mut bytes)?),
            behalf: u64::from_le_bytes(take(&mut bytes)?),
            object: u64::from_le_bytes(take(&mut bytes)?),
        };
        let count = u32::from_le_bytes(take(&mut bytes)?) as usize;
        if count > bytes.len() / size_of::<u64>() {
            return Err(Garbled);
        }
        let objects: Result<_, _> = (0..count)
            .map(|_| take(&mut bytes).map(u64::from_le_bytes))
            .collect();
        Ok(Self {
            head,
            objects: objects?,
            bytes,
        })
    }
}

fn take<const N: usize>(bytes: &mut Bytes) -> Result<[u8; N], Garbled> {
    let taken = *bytes.first_chunk().ok_or(Garbled)?;
    drop(bytes.split_to(N));
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent() -> (Head, Parcel, Bytes) {
        let head = Head {
            kind: Kind::Call,
            method: 3,
            call: 7,
            behalf: 5,
            object: u64::MAX,
        };
        let parcel = Parcel {
            bytes: b"values".to_vec(),
            objects: vec![1, 2],
        };
        let mut encoded = Bytes::from(head.encode(&parcel));
        let length = u32::from_le_bytes(take(&mut encoded).expect("a length"));
        assert_eq!(length as usize, encoded.len());
        (head, parcel, encoded)
    }

    #[test]
    fn a_message_reads_back() {
        let (head, parcel, encoded) = sent();
        let message = Message::decode(encoded).expect("it is whole");
        assert_eq!((message.head, message.objects), (head, parcel.objects));
        assert_eq!(message.bytes, parcel.bytes);
    }

    #[test]
    fn what_is_cut_or_promises_more_than_it_has_does_not_read() {
        let (.., encoded) = sent();
        let values = b"values".len();
        for length in 0..encoded.len() - values {
            assert_eq!(Message::decode(encoded.slice(..length)), Err(Garbled));
        }
        let mut lying = encoded.to_vec();
        lying[HEAD_BYTES - 1] = 0xff;
        assert_eq!(Message::decode(lying.into()), Err(Garbled));
        let mut unknown = encoded.to_vec();
        unknown[0] = 7;
        assert_eq!(Message::decode(unknown.into()), Err(Garbled));
    }
}

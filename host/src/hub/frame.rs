//! Frames of RFC 6455 as a server sends them: whole, and not masked.

use std::sync::Arc;

use nself_plugin_api::abi::capability::hub::Frame;

use super::Counts;

/// Opcodes (section 11.8).
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// Longest header of a frame.
const HEADER_BYTES_MAX: usize = 14;
/// The bit by which a frame says that its payload is masked.
const MASKED: u8 = 0x80;
/// A length in two bytes comes behind it.
const MEDIUM: u8 = 0x7e;

/// What a close says besides its code (section 5.5).
const REASON_BYTES_MAX: usize = 123;

/// The header of a frame.
pub(super) struct Head {
    pub(super) first: u8,
    pub(super) mask: Option<[u8; 4]>,
    /// Bytes of the payload.
    pub(super) left: u64,
}

impl Head {
    /// Nothing while it is not whole.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        debug_assert!(bytes.len() <= HEADER_BYTES_MAX, "a byte at a time");
        let [first, second, rest @ ..] = bytes else {
            return None;
        };
        let (left, rest) = match second & !MASKED {
            MEDIUM => {
                let (length, rest) = rest.split_first_chunk()?;
                (u16::from_be_bytes(*length).into(), rest)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u64::from_be_bytes(*length), rest)
            }
            short => (short.into(), rest),
        };
        let mask = match second & MASKED {
            0 => None,
            _ => Some(*rest.first_chunk()?),
        };
        Some(Self {
            first: *first,
            mask,
            left,
        })
    }
}

/// Bytes that are counted while somebody holds them.
struct Counted {
    bytes: Box<[u8]>,
    counts: Arc<Counts>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counts.frames.dec();
    }
}

/// Opcode and payload of a whole message that [`encode`] has made.
pub(super) fn message(frame: &[u8]) -> Option<(u8, &[u8])> {
    let [first, length, rest @ ..] = frame else {
        return None;
    };
    let longer = match length {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let opcode = first & 0x0f;
    let payload = rest.get(longer..)?;
    (first & 0x70 == 0 && matches!(opcode, TEXT | BINARY)).then_some((opcode, payload))
}

/// A message as a frame that is counted.
pub(super) fn counted(opcode: u8, payload: &[u8], counts: &Arc<Counts>) -> Frame {
    counts.frames.inc();
    Frame::new(Arc::new(Counted {
        bytes: encode(opcode, payload).into(),
        counts: Arc::clone(counts),
    }))
}

/// A frame of the host's own.
pub(super) fn own(bytes: Vec<u8>) -> Frame {
    Frame::new(Arc::new(bytes))
}

/// Header and payload of a whole message.
pub(crate) fn encode(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(10 + payload.len());
    frame.push(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ ..126), _) => frame.push(short),
        (_, Ok(medium)) => {
            frame.push(126);
            frame.extend(medium.to_be_bytes());
        }
        _ => {
            frame.push(127);
            let long = u64::try_from(payload.len()).expect("memory is smaller than 2^64 bytes");
            frame.extend(long.to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// A close; what is too long of the reason is left out. 1005 and the like are no codes to be sent: they say that there was none.
pub(super) fn close(code: u16, reason: &str) -> Vec<u8> {
    if matches!(code, 0..1000 | 1004..=1006 | 1015 | 5000..) {
        return encode(CLOSE, &[]);
    }
    let mut payload = code.to_be_bytes().to_vec();
    let mut ends = (0..=reason.len().min(REASON_BYTES_MAX)).rev();
    let end = ends.find(|end| reason.is_char_boundary(*end));
    payload.extend_from_slice(&reason.as_bytes()[..end.unwrap_or_default()]);
    encode(CLOSE, &payload)
}

/// Whether there is a close among these whole control frames.
pub(super) fn has_close(mut frames: &[u8]) -> bool {
    while let [first, length, rest @ ..] = frames {
        if first & 0x0f == CLOSE {
            return true;
        }
        frames = rest.get(usize::from(length & 0x7f)..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_header(payload_bytes: usize, header: &[u8]) {
        let frame = encode(BINARY, &vec![7; payload_bytes]);
        assert_eq!(&frame[..header.len()], header, "{payload_bytes}");
        assert_eq!(frame.len(), header.len() + payload_bytes);
    }

    #[test]
    fn lengths_are_written_in_the_shortest_way() {
        check_header(0, &[0x82, 0]);
        check_header(125, &[0x82, 125]);
        check_header(126, &[0x82, 126, 0, 126]);
        check_header(65_535, &[0x82, 126, 255, 255]);
        check_header(65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_message_is_found_in_its_frame() {
        for bytes in [0, 125, 126, 65_535, 65_536] {
            let payload = vec![7; bytes];
            assert_eq!(message(&encode(TEXT, &payload)), Some((TEXT, &*payload)));
        }
        assert_eq!(message(&encode(PING, b"")), None);
        assert_eq!(message(&encode(0x40 | TEXT, b"packed")), None);
    }

    #[test]
    fn a_close_has_room_for_a_short_reason() {
        assert_eq!(close(3001, "shutdown"), *b"\x88\x0a\x0b\xb9shutdown");
        let long = close(3000, &"\u{fc}".repeat(100));
        assert_eq!(long.len(), 2 + 2 + 122, "cut between two letters");
        assert_eq!(close(1005, "none was given"), *b"\x88\x00");
    }

    #[test]
    fn a_close_is_found_behind_a_pong() {
        let mut frames = encode(10, b"\x88pong");
        assert!(!has_close(&frames));
        frames.extend(close(1000, ""));
        assert!(has_close(&frames));
    }
}

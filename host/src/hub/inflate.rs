//! Messages that a client has compressed (RFC 7692), on their way to the codec of frames, which knows nothing of that: whatever has been
//! inflated goes on as a fragment of a plain message. No more is inflated than the codec asks for, and it asks for no more once a
//! message is longer than it may be, however little the client sent.

use std::io;

use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress, Status};
use tokio::io::ReadBuf;

/// Longest header of a frame.
const HEADER_BYTES_MAX: usize = 14;
/// Bytes that are inflated, or passed on, at a time.
const STEP_BYTES: usize = 4 * 1024;
/// Bytes that are unmasked at a time: they may become a thousand times as many.
const PACKED_BYTES: usize = 512;
/// What every sender leaves out at the end of a message (section 7.2.1).
pub(super) const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

const FINAL: u8 = 0x80;
/// The bit by which the first frame of a message says that it is compressed.
pub(super) const PACKED: u8 = 0x40;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
/// A length in two bytes comes behind it.
const MEDIUM: u8 = 0x7e;

/// Where in what the client sends it is.
enum At {
    Header,
    /// In a frame that the codec gets as it is.
    Plain {
        left: u64,
    },
    Packed {
        left: u64,
        mask: [u8; 4],
        is_last: bool,
    },
    /// Behind the last frame of a compressed message.
    Tail {
        taken: usize,
    },
}

/// The client's side of one connection.
pub(super) struct Inflater {
    at: At,
    header: Vec<u8>,
    /// There while a compressed message is: nothing is kept from one to the next.
    message: Option<Decompress>,
    /// For the codec.
    ready: Bytes,
}

impl Default for Inflater {
    fn default() -> Self {
        Self {
            at: At::Header,
            header: Vec::new(),
            message: None,
            ready: Bytes::new(),
        }
    }
}

impl Inflater {
    /// Gives the codec what there is for it, as far as it has room; false when more has to come from the client first.
    ///
    /// # Errors
    ///
    /// When something is not what it was compressed to.
    pub(super) fn read(&mut self, raw: &mut Bytes, buffer: &mut ReadBuf<'_>) -> io::Result<bool> {
        if self.ready.is_empty() {
            let mut ready = Vec::new();
            while ready.len() < STEP_BYTES && self.step(raw, &mut ready)? {}
            self.ready = ready.into();
        }
        let taken = self.ready.len().min(buffer.remaining());
        buffer.put_slice(&self.ready.split_to(taken));
        if self.ready.is_empty() {
            // Its block goes, too.
            self.ready = Bytes::new();
        }
        Ok(taken > 0)
    }

    /// Goes on a little; false when it cannot without more from the client.
    fn step(&mut self, raw: &mut Bytes, ready: &mut Vec<u8>) -> io::Result<bool> {
        match self.at {
            At::Plain { left: 0 } => self.at = At::Header,
            At::Packed {
                left: 0, is_last, ..
            } => {
                self.at = if is_last {
                    At::Tail { taken: 0 }
                } else {
                    At::Header
                };
            }
            At::Tail { taken } => self.end(taken, ready)?,
            _ if raw.is_empty() => return Ok(false),
            At::Header => {
                self.header.push(raw.get_u8());
                if let Some(head) = Head::read(&self.header) {
                    self.begin(&head, ready);
                    self.header.clear();
                }
            }
            At::Plain { left } => {
                let amount = raw.len().min(STEP_BYTES);
                let amount = usize::try_from(left).map_or(amount, |left| left.min(amount));
                ready.extend_from_slice(&raw.split_to(amount));
                self.at = At::Plain {
                    left: left - amount as u64,
                };
            }
            At::Packed {
                left,
                mask,
                is_last,
            } => {
                let mut packed = [0; PACKED_BYTES];
                let amount = raw.len().min(PACKED_BYTES);
                let amount = usize::try_from(left).map_or(amount, |left| left.min(amount));
                let packed = &mut packed[..amount];
                packed.copy_from_slice(&raw[..amount]);
                for (at, byte) in packed.iter_mut().enumerate() {
                    *byte ^= mask[at % mask.len()];
                }
                let (taken, _) = self.inflate(packed, ready)?;
                raw.advance(taken);
                let (mut mask, turn) = (mask, taken % mask.len());
                mask.rotate_left(turn);
                self.at = At::Packed {
                    left: left - taken as u64,
                    mask,
                    is_last,
                };
            }
        }
        Ok(true)
    }

    /// A frame begins. What breaks the rules goes to the codec as it is, which knows them.
    fn begin(&mut self, head: &Head, ready: &mut Vec<u8>) {
        let Head { first, mask, left } = *head;
        let (opcode, reserved) = (first & 0x0f, first & RESERVED);
        let is_first = matches!(opcode, 1 | 2) && reserved == PACKED && self.message.is_none();
        let is_next = opcode == 0 && reserved == 0 && self.message.is_some();
        let Some(mask) = mask.filter(|_| is_first || is_next) else {
            ready.extend_from_slice(&self.header);
            self.at = At::Plain { left };
            return;
        };
        if is_first {
            // From here on it is in the middle of a message, as the client is.
            fragment(opcode, &[], ready);
            self.message = Some(Decompress::new(false));
        }
        self.at = At::Packed {
            left,
            mask,
            is_last: first & FINAL != 0,
        };
    }

    /// Behind the last frame: what was left out at its end, and the end.
    fn end(&mut self, taken: usize, ready: &mut Vec<u8>) -> io::Result<()> {
        let (more, made) = self.inflate(&TAIL[taken..], ready)?;
        let taken = taken + more;
        if taken < TAIL.len() || made == STEP_BYTES {
            // There may be more of it.
            self.at = At::Tail { taken };
            return Ok(());
        }
        fragment(FINAL, &[], ready);
        self.message = None;
        self.at = At::Header;
        Ok(())
    }

    /// Inflates a step; how many bytes it took, and how many they have become.
    fn inflate(&mut self, packed: &[u8], ready: &mut Vec<u8>) -> io::Result<(usize, usize)> {
        let message = self.message.as_mut().ok_or_else(corrupt)?;
        let mut step = [0; STEP_BYTES];
        let (taken, made) = (message.total_in(), message.total_out());
        let status = message
            .decompress(packed, &mut step, FlushDecompress::None)
            .map_err(|_| corrupt())?;
        let difference = |after: u64, before| usize::try_from(after - before).unwrap_or_default();
        let taken = difference(message.total_in(), taken);
        let made = difference(message.total_out(), made);
        if status == Status::StreamEnd {
            // A sender may end its last block for good (section 7.2.3.4); what comes behind it begins anew.
            message.reset(false);
        } else if taken == 0 && made == 0 && !packed.is_empty() {
            return Err(corrupt());
        }
        if made > 0 {
            fragment(0, &step[..made], ready);
        }
        Ok((taken, made))
    }
}

/// What is compressed in no way that there is.
fn corrupt() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "this was not compressed by deflate",
    )
}

/// A part of a plain message as a client would send it, masked with nothing.
fn fragment(first: u8, payload: &[u8], ready: &mut Vec<u8>) {
    ready.push(first);
    if let Ok(short @ ..126) = u8::try_from(payload.len()) {
        ready.push(MASKED | short);
    } else {
        let medium = u16::try_from(payload.len()).expect("no step is longer");
        ready.push(MASKED | MEDIUM);
        ready.extend_from_slice(&medium.to_be_bytes());
    }
    ready.extend_from_slice(&[0; 4]);
    ready.extend_from_slice(payload);
}

/// The header of a frame.
struct Head {
    first: u8,
    mask: Option<[u8; 4]>,
    left: u64,
}

impl Head {
    /// Nothing while it is not whole.
    fn read(bytes: &[u8]) -> Option<Self> {
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use flate2::{Compress, Compression, FlushCompress};
    use tokio_tungstenite::tungstenite::{
        Error, Message, WebSocket,
        error::{CapacityError, ProtocolError},
        protocol::{Role, WebSocketConfig},
    };

    use super::*;

    const MESSAGE_BYTES_MAX: usize = 1 << 20;
    const MASK: [u8; 4] = [0x5a, 0, 0xff, 0x13];

    /// A client of which so many bytes come at a time.
    struct Client {
        sends: Bytes,
        step: usize,
        here: Bytes,
        inflater: Inflater,
    }

    impl Read for Client {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let mut buffer = ReadBuf::new(buffer);
            while !self.inflater.read(&mut self.here, &mut buffer)? && !self.sends.is_empty() {
                self.here = self.sends.split_to(self.step.min(self.sends.len()));
            }
            Ok(buffer.filled().len())
        }
    }

    impl Write for Client {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn socket(sends: Vec<u8>, step: usize) -> WebSocket<Client> {
        let client = Client {
            sends: sends.into(),
            step,
            here: Bytes::new(),
            inflater: Inflater::default(),
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(128)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        WebSocket::from_raw_socket(client, Role::Server, Some(config))
    }

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = super::super::frame::encode(0, payload);
        let head = frame.len() - payload.len();
        frame[0] = first;
        frame[1] |= MASKED;
        for (at, byte) in frame[head..].iter_mut().enumerate() {
            *byte ^= MASK[at % 4];
        }
        frame.splice(head..head, MASK);
        frame
    }

    fn deflated(payload: &[u8], flush: FlushCompress) -> Vec<u8> {
        let mut packed = Vec::with_capacity(payload.len() + 1_000);
        let mut compress = Compress::new(Compression::best(), false);
        let compressed = compress.compress_vec(payload, &mut packed, flush);
        compressed.expect("there is room");
        packed.strip_suffix(&TAIL).unwrap_or(&packed).to_vec()
    }

    fn packed(payload: &[u8]) -> Vec<u8> {
        deflated(payload, FlushCompress::Sync)
    }

    #[track_caller]
    fn check(sends: &[Vec<u8>], expected: &[Message]) {
        for step in [1, 2, 7, 1_000, usize::MAX] {
            let mut socket = socket(sends.concat(), step);
            for message in expected {
                let read = socket.read().expect("a message");
                assert_eq!(read, *message, "by {step}");
            }
            let ended = socket.read().expect_err("there is no more");
            let is_end = matches!(
                ended,
                Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
            );
            assert!(is_end, "{ended}");
            assert!(socket.get_ref().inflater.message.is_none());
        }
    }

    #[test]
    fn messages_are_what_they_were_however_they_come() {
        let long = "the quick brown fox ".repeat(2_000);
        let short = packed(b"hello");
        let (front, back) = short.split_at(3);
        check(
            &[
                frame(0xc1, &packed(long.as_bytes())),
                // In three frames, one of them empty, and with a ping between them.
                frame(0x41, front),
                frame(0x89, b"there?"),
                frame(0x00, b""),
                frame(0x80, back),
                frame(0x81, b"plain"),
                frame(0x02, b"pl"),
                frame(0x80, b"ain"),
                frame(0xc2, &packed(b"")),
                frame(0xc1, b"\0"),
            ],
            &[
                Message::text(long),
                Message::Ping("there?".into()),
                Message::text("hello"),
                Message::text("plain"),
                Message::binary("plain"),
                Message::binary(""),
                Message::text(""),
            ],
        );
    }

    #[test]
    fn a_block_that_ends_for_good_ends_a_message_as_well() {
        let mut ended = deflated(b"hello", FlushCompress::Finish);
        let whole = ended.clone();
        ended.push(0);
        let expected = [Message::text("hello"), Message::text("hello")];
        check(&[frame(0xc1, &ended), frame(0xc1, &whole)], &expected);
    }

    #[track_caller]
    fn check_broken(sends: &[Vec<u8>], is_so: impl Fn(&Error) -> bool) -> WebSocket<Client> {
        let mut socket = socket(sends.concat(), 100);
        let broken = socket.read().expect_err("it breaks the rules");
        assert!(is_so(&broken), "{broken}");
        socket
    }

    #[test]
    fn a_bomb_is_not_inflated_beyond_what_a_message_may_be() {
        let bomb = packed(&vec![0; 64 << 20]);
        assert!(bomb.len() < 100_000);
        let frames = bomb.chunks(10_000).enumerate();
        let frames: Vec<_> = frames
            .map(|(at, part)| frame(if at == 0 { 0x42 } else { 0 }, part))
            .collect();
        for sends in [vec![frame(0xc2, &bomb)], frames] {
            let socket = check_broken(&sends, |error| {
                matches!(error, Error::Capacity(CapacityError::MessageTooLong { .. }))
            });
            let client = socket.get_ref();
            let message = client.inflater.message.as_ref().expect("in the middle");
            let inflated = usize::try_from(message.total_out()).expect("a size");
            assert!(inflated <= MESSAGE_BYTES_MAX + 4 * STEP_BYTES, "{inflated}");
        }
    }

    #[test]
    fn what_breaks_the_rules_of_frames_is_the_codec_s_to_refuse() {
        let is_against_the_rules = |error: &Error| matches!(error, Error::Protocol(_));
        let begun = || frame(0x41, &packed(b"hello"));
        for (sends, what) in [
            (vec![frame(0xc9, b"")], "a compressed ping"),
            (vec![frame(0xf1, b"")], "another bit"),
            (vec![begun(), frame(0xc0, b"")], "the bit on a later frame"),
            (vec![begun(), frame(0xc1, b"")], "a message within one"),
            (vec![begun(), frame(0x81, b"")], "a plain one within one"),
            (vec![frame(0x80, b"")], "an end without a beginning"),
            (vec![vec![0xc1, 0]], "no mask"),
        ] {
            println!("{what}");
            check_broken(&sends, is_against_the_rules);
        }
    }

    #[test]
    fn what_was_compressed_otherwise_is_refused() {
        check_broken(
            &[frame(0xc1, b"\xff\xff\xff")],
            |error| matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::InvalidData),
        );
    }
}

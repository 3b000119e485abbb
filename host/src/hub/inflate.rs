//! Messages that a client has compressed (RFC 7692), on their way to the codec of frames, which knows nothing of that: whatever has been
//! inflated goes on as a fragment of a plain message. No more is inflated than the codec asks for, and it asks for no more once a
//! message is longer than it may be, however little the client sent.

use std::io;

use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress, Status};

use super::frame::Head;

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
    /// What there is for the codec, which takes of it what it needs; nothing when more has to come from the client first.
    ///
    /// # Errors
    ///
    /// When something is not what it was compressed to.
    pub(super) fn ready(&mut self, raw: &mut Bytes) -> io::Result<&mut Bytes> {
        if self.ready.is_empty() {
            let mut ready = Vec::new();
            while ready.len() < STEP_BYTES && self.step(raw, &mut ready)? {}
            // With it goes the block of what was there before.
            self.ready = ready.into();
        }
        Ok(&mut self.ready)
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

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;
    use crate::hub::decoder::{Broken, Decoder, MESSAGE_BYTES_MAX, Said};

    const MASK: [u8; 4] = [0x5a, 0, 0xff, 0x13];

    /// Why nothing more is read.
    #[derive(Debug)]
    enum Failure {
        Packed(io::Error),
        Broken(Broken),
    }

    /// What a client says of which so many bytes come at a time, until something is wrong with it.
    fn said(sends: &[u8], step: usize) -> (Vec<Said>, Inflater, Result<(), Failure>) {
        let (mut said, mut inflater) = (Vec::new(), Inflater::default());
        let read = read(sends, step, &mut said, &mut inflater);
        (said, inflater, read)
    }

    fn read(
        sends: &[u8],
        step: usize,
        said: &mut Vec<Said>,
        inflater: &mut Inflater,
    ) -> Result<(), Failure> {
        let mut decoder = Decoder::default();
        for here in sends.chunks(step) {
            let mut here = Bytes::copy_from_slice(here);
            loop {
                let ready = inflater.ready(&mut here).map_err(Failure::Packed)?;
                if ready.is_empty() {
                    break;
                }
                let mut bytes = &ready[..];
                let one = decoder.read(&mut bytes).map_err(Failure::Broken)?;
                let taken = ready.len() - bytes.len();
                ready.advance(taken);
                said.extend(one);
            }
        }
        Ok(())
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
    fn check(sends: &[Vec<u8>], expected: &[Said]) {
        let sends = sends.concat();
        for step in [1, 2, 7, 1_000, usize::MAX] {
            let (said, inflater, read) = said(&sends, step);
            assert!(read.is_ok(), "{read:?} by {step}");
            assert!(said == expected, "by {step}");
            assert!(inflater.message.is_none());
        }
    }

    fn text(text: &str) -> Said {
        Said::Text(text.into())
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
                text(&long),
                Said::Ping("there?".into()),
                text("hello"),
                text("plain"),
                Said::Binary("plain".into()),
                Said::Binary("".into()),
                text(""),
            ],
        );
    }

    #[test]
    fn a_block_that_ends_for_good_ends_a_message_as_well() {
        let mut ended = deflated(b"hello", FlushCompress::Finish);
        let whole = ended.clone();
        ended.push(0);
        let expected = [text("hello"), text("hello")];
        check(&[frame(0xc1, &ended), frame(0xc1, &whole)], &expected);
    }

    #[track_caller]
    fn check_broken(sends: &[Vec<u8>], is_so: impl Fn(&Failure) -> bool) -> Inflater {
        let (said, inflater, read) = said(&sends.concat(), 100);
        let failure = read.expect_err("it breaks the rules");
        assert!(is_so(&failure), "{failure:?}");
        assert!(said.is_empty(), "{said:?}");
        inflater
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
            let inflater = check_broken(&sends, |failure| {
                matches!(failure, Failure::Broken(Broken::TooLong))
            });
            let message = inflater.message.as_ref().expect("in the middle");
            let inflated = usize::try_from(message.total_out()).expect("a size");
            assert!(inflated <= MESSAGE_BYTES_MAX + 4 * STEP_BYTES, "{inflated}");
        }
    }

    #[test]
    fn what_breaks_the_rules_of_frames_is_the_codec_s_to_refuse() {
        let is_against_the_rules =
            |failure: &Failure| matches!(failure, Failure::Broken(Broken::Rule(_)));
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
            |failure| matches!(failure, Failure::Packed(error) if error.kind() == io::ErrorKind::InvalidData),
        );
    }
}

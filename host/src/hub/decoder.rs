//! What a client says, out of the frames that it sends (RFC 6455, section 5). What breaks the rules is refused as soon as it is seen, text that is
//! no UTF-8 in the middle of its frame. Between two messages nothing is kept: whoever has thousands of idle sockets pays for what each of
//! them holds.

use super::frame::{BINARY, CLOSE, Head, PING, PONG, TEXT};

/// Largest message of a client.
pub(super) const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Payload of a ping, a pong or a close (section 5.5).
const CONTROL_BYTES_MAX: u64 = 125;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
/// The opcode of what goes on with a message.
const CONTINUATION: u8 = 0;

/// What a client has said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// A text, which is UTF-8.
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    /// Nothing more; with a code and a reason, where there is one.
    Close(Option<(u16, String)>),
}

/// What a client must not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("a frame against the rules: {0}")]
    Rule(&'static str),
    #[error("a text that is not UTF-8")]
    Text,
    #[error("a message of more than {} bytes", MESSAGE_BYTES_MAX)]
    TooLong,
}

/// Where in what a client sends it is; nothing where a message is to begin.
#[derive(Default)]
pub(super) struct Decoder(Option<Box<State>>);

#[derive(Default)]
struct State {
    header: Vec<u8>,
    frame: Option<Frame>,
    message: Option<Message>,
    /// Payload of a control frame.
    control: Vec<u8>,
}

/// A frame of which not all has come.
struct Frame {
    opcode: u8,
    is_last: bool,
    mask: [u8; 4],
    left: u64,
}

/// A message of which not all has come.
struct Message {
    is_text: bool,
    payload: Vec<u8>,
    /// Bytes of it that are UTF-8, and what comes behind them may become so.
    valid: usize,
}

impl Decoder {
    /// Goes on with these bytes, of which it takes those of the next that is said; nothing when that takes more than them.
    ///
    /// # Errors
    ///
    /// When it breaks the rules; nothing that follows means anything then.
    pub(super) fn read(&mut self, bytes: &mut &[u8]) -> Result<Option<Said>, Broken> {
        // In a box only where something is left: most messages come whole.
        let mut state = self.0.take().map_or_else(State::default, |state| *state);
        let said = state.read(bytes)?;
        if state.is_within() {
            self.0 = Some(Box::new(state));
        }
        Ok(said)
    }
}

impl State {
    fn is_within(&self) -> bool {
        !self.header.is_empty() || self.frame.is_some() || self.message.is_some()
    }

    fn read(&mut self, bytes: &mut &[u8]) -> Result<Option<Said>, Broken> {
        loop {
            if self.frame.is_none() && !self.begin(bytes)? {
                return Ok(None);
            }
            if !self.go_on(bytes)? {
                return Ok(None);
            }
            if let Some(said) = self.end()? {
                return Ok(Some(said));
            }
        }
    }

    /// Reads the header of the next frame; whether it is whole.
    fn begin(&mut self, bytes: &mut &[u8]) -> Result<bool, Broken> {
        while let Some((first, rest)) = bytes.split_first() {
            *bytes = rest;
            self.header.push(*first);
            if let Some(head) = Head::read(&self.header) {
                self.header = Vec::new();
                self.frame = Some(self.admitted(&head)?);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The frame, if there may be one like it here.
    fn admitted(&mut self, head: &Head) -> Result<Frame, Broken> {
        let Head { first, mask, left } = *head;
        let (opcode, is_last) = (first & 0x0f, first & FINAL != 0);
        let is_control = matches!(opcode, CLOSE | PING | PONG);
        let broken = match opcode {
            _ if first & RESERVED != 0 => Some("a reserved bit"),
            CONTINUATION if self.message.is_none() => Some("it goes on with nothing"),
            TEXT | BINARY if self.message.is_some() => Some("a message within a message"),
            CLOSE | PING | PONG if !is_last => Some("a control frame in parts"),
            CLOSE | PING | PONG if left > CONTROL_BYTES_MAX => Some("a long control frame"),
            CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG => None,
            _ => Some("an unknown opcode"),
        };
        let mask = mask.ok_or(Broken::Rule("no mask"));
        let mask = broken.map_or(mask, |rule| Err(Broken::Rule(rule)))?;
        if !is_control {
            let message = self.message.get_or_insert(Message {
                is_text: opcode == TEXT,
                payload: Vec::new(),
                valid: 0,
            });
            let room = MESSAGE_BYTES_MAX - message.payload.len();
            if left > room as u64 {
                return Err(Broken::TooLong);
            }
        }
        Ok(Frame {
            opcode,
            is_last,
            mask,
            left,
        })
    }

    /// Takes of the payload what has come; whether that is all.
    fn go_on(&mut self, bytes: &mut &[u8]) -> Result<bool, Broken> {
        let Some(frame) = &mut self.frame else {
            return Ok(true);
        };
        let amount = usize::try_from(frame.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let (part, rest) = bytes.split_at(amount);
        *bytes = rest;
        frame.left -= amount as u64;
        let is_all = frame.left == 0;
        match (frame.opcode, &mut self.message) {
            (CONTINUATION | TEXT | BINARY, Some(message)) => {
                unmasked(part, &mut frame.mask, &mut message.payload);
                message.check(is_all && frame.is_last)?;
            }
            _ => unmasked(part, &mut frame.mask, &mut self.control),
        }
        Ok(is_all)
    }

    /// Behind a frame: what was said, if that was all of it.
    fn end(&mut self) -> Result<Option<Said>, Broken> {
        let Some(Frame {
            opcode, is_last, ..
        }) = self.frame.take()
        else {
            return Ok(None);
        };
        let control = std::mem::take(&mut self.control);
        Ok(match opcode {
            CLOSE => Some(Said::Close(closing(&control)?)),
            PING => Some(Said::Ping(control)),
            PONG => Some(Said::Pong),
            _ if !is_last => None,
            _ => self.message.take().map(|message| {
                let said = if message.is_text {
                    Said::Text
                } else {
                    Said::Binary
                };
                said(message.payload)
            }),
        })
    }
}

impl Message {
    /// Whether it can still become UTF-8, where it is to be that.
    fn check(&mut self, is_whole: bool) -> Result<(), Broken> {
        if !self.is_text {
            return Ok(());
        }
        match std::str::from_utf8(&self.payload[self.valid..]) {
            Ok(_) => self.valid = self.payload.len(),
            // A letter that has not come whole.
            Err(error) if error.error_len().is_none() && !is_whole => {
                self.valid += error.valid_up_to();
            }
            Err(_) => return Err(Broken::Text),
        }
        Ok(())
    }
}

/// Appends a part of a payload, and turns the mask to where the next part begins.
fn unmasked(part: &[u8], mask: &mut [u8; 4], payload: &mut Vec<u8>) {
    let before = payload.len();
    payload.extend_from_slice(part);
    let (words, rest) = payload[before..].as_chunks_mut::<4>();
    let word_mask = u32::from_ne_bytes(*mask);
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ word_mask).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(&*mask) {
        *byte ^= mask;
    }
    mask.rotate_left(part.len() % 4);
}

/// What a close says. Who gives a code that nobody may send is told that.
fn closing(payload: &[u8]) -> Result<Option<(u16, String)>, Broken> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        let is_empty = payload.is_empty();
        return is_empty.then_some(None).ok_or(Broken::Rule("half a code"));
    };
    let code = u16::from_be_bytes(*code);
    let reason = std::str::from_utf8(reason).map_err(|_| Broken::Text)?;
    Ok(Some(match code {
        1000..=1003 | 1007..=1013 | 3000..=4999 => (code, reason.to_owned()),
        _ => (1002, "Protocol violation".to_owned()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::encode;

    const MASK: [u8; 4] = [0x5a, 0, 0xff, 0x13];

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = encode(0, payload);
        let head = frame.len() - payload.len();
        frame[0] = first;
        frame[1] |= 0x80;
        for (byte, mask) in frame[head..].iter_mut().zip(MASK.iter().cycle()) {
            *byte ^= mask;
        }
        frame.splice(head..head, MASK);
        frame
    }

    /// What is said by bytes that come so many at a time, until something is broken.
    fn said(sends: &[u8], step: usize) -> (Vec<Said>, Decoder, Result<(), Broken>) {
        let (mut said, mut decoder) = (Vec::new(), Decoder::default());
        for mut part in sends.chunks(step) {
            while !part.is_empty() {
                match decoder.read(&mut part) {
                    Ok(one) => said.extend(one),
                    Err(broken) => return (said, decoder, Err(broken)),
                }
            }
        }
        (said, decoder, Ok(()))
    }

    #[track_caller]
    fn check(sends: &[Vec<u8>], expected: &[Said]) {
        let sends = sends.concat();
        for step in [1, 2, 3, 7, 1_000, usize::MAX] {
            let (said, decoder, is_good) = said(&sends, step);
            assert_eq!(is_good, Ok(()), "by {step}");
            assert!(said == expected, "by {step}");
            assert!(decoder.0.is_none(), "nothing is kept");
        }
    }

    #[track_caller]
    fn check_broken(sends: &[Vec<u8>], expected: Broken) {
        let sends = sends.concat();
        for step in [1, 100, usize::MAX] {
            let (said, _, broken) = said(&sends, step);
            assert_eq!((said, broken), (Vec::new(), Err(expected)), "by {step}");
        }
    }

    #[test]
    fn what_is_said_is_the_same_however_it_comes() {
        let long = "the quick brown f\u{f6}x ".repeat(5_000);
        let (front, back) = long.as_bytes().split_at(17);
        check(
            &[
                frame(0x81, b"hello"),
                frame(0x82, b""),
                // In four frames, one of them empty, between two bytes of a letter, and with a ping between them.
                frame(0x01, front),
                frame(0x89, b"there?"),
                frame(0x00, b""),
                frame(0x00, &back[..10]),
                frame(0x8a, b"here"),
                frame(0x80, &back[10..]),
                frame(0x82, &vec![0xff; 70_000]),
                frame(0x88, b"\x03\xe8bye"),
            ],
            &[
                Said::Text(b"hello".into()),
                Said::Binary(Vec::new()),
                Said::Ping(b"there?".into()),
                Said::Pong,
                Said::Text(long.clone().into()),
                Said::Binary(vec![0xff; 70_000]),
                Said::Close(Some((1000, "bye".to_owned()))),
            ],
        );
    }

    #[test]
    fn the_largest_message_is_taken_and_a_larger_one_is_not_waited_for() {
        let largest = vec![7; MESSAGE_BYTES_MAX];
        let (front, back) = largest.split_at(1_000);
        let halves = [frame(0x02, front), frame(0x80, back)].concat();
        for sends in [frame(0x82, &largest), halves] {
            let (said, ..) = said(&sends, 8_192);
            assert!(said == [Said::Binary(largest.clone())]);
        }
        let mut head = frame(0x82, &vec![7; MESSAGE_BYTES_MAX + 1]);
        head.truncate(14);
        check_broken(&[head], Broken::TooLong);
        let endless = b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff1234";
        check_broken(&[endless.into()], Broken::TooLong);
        let mut more = frame(0x80, &vec![7; MESSAGE_BYTES_MAX]);
        more.truncate(14);
        check_broken(&[frame(0x02, b"1"), more], Broken::TooLong);
    }

    #[test]
    fn closes_are_read_and_codes_that_nobody_may_send_are_none() {
        let close = |code: u16, reason: &str| {
            let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
            frame(0x88, &payload)
        };
        for code in [1000, 1003, 1007, 1013, 3000, 4999] {
            let expected = Said::Close(Some((code, "so".to_owned())));
            check(&[close(code, "so")], &[expected]);
        }
        for code in [
            0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 5000, 65535,
        ] {
            let expected = Said::Close(Some((1002, "Protocol violation".to_owned())));
            check(&[close(code, "so")], &[expected]);
        }
        check(&[frame(0x88, b"")], &[Said::Close(None)]);
        check_broken(&[frame(0x88, b"\x03")], Broken::Rule("half a code"));
        check_broken(&[frame(0x88, b"\x03\xe8\xff")], Broken::Text);
    }

    #[test]
    fn what_breaks_the_rules_is_refused() {
        let rule = Broken::Rule;
        for reserved in [0xc1, 0xa1, 0x91, 0xc0, 0xc9] {
            check_broken(&[frame(reserved, b"")], rule("a reserved bit"));
        }
        for unknown in [0x83, 0x87, 0x8b, 0x8f, 0x03] {
            check_broken(&[frame(unknown, b"")], rule("an unknown opcode"));
        }
        check_broken(&[frame(0x80, b"")], rule("it goes on with nothing"));
        check_broken(
            &[frame(0x01, b"a"), frame(0x81, b"b")],
            rule("a message within a message"),
        );
        check_broken(&[frame(0x09, b"")], rule("a control frame in parts"));
        check_broken(&[frame(0x89, &[0; 126])], rule("a long control frame"));
        check_broken(&[b"\x81\x01a".into()], rule("no mask"));
    }

    #[test]
    fn a_text_is_refused_in_the_middle_of_its_frame() {
        let mut begun = frame(0x81, b"\xce\xba\xf4\x90\x80\x80 and much more");
        begun.truncate(10);
        check_broken(&[begun], Broken::Text);
        check_broken(&[frame(0x81, b"\xce")], Broken::Text);
        check_broken(&[frame(0x01, b"\xce"), frame(0x80, b"")], Broken::Text);
        // In a binary message it is none.
        check(&[frame(0x82, b"\xce")], &[Said::Binary(b"\xce".into())]);
    }
}

//! Replies of an SMTP server (RFC 5321, 4.2) from the bytes that come. A server may send anything, so they are bounded, and what
//! is no reply is told from one.

use std::fmt;

/// Longest line of a reply, bytes. RFC 5321 has 512; this is what Postfix takes.
const LINE_BYTES_MAX: usize = 1_000;
/// Longest reply, bytes; as Postfix.
const REPLY_BYTES_MAX: usize = 100_000;

/// What the server said is not SMTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server does not keep to SMTP: {0}")]
pub(super) struct Garbage(pub &'static str);

/// A reply, with the texts of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub code: u16,
    pub lines: Vec<String>,
}

impl Reply {
    /// The first digit of its code: 2 is yes, 3 go on, 4 not now, 5 no.
    pub(super) fn class(&self) -> u16 {
        self.code / 100
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.class() {
            4 => "transient error",
            5 => "permanent error",
            _ => "reply",
        };
        write!(f, "{kind} ({}): {}", self.code, self.lines.join(" "))
    }
}

/// Bytes that have come, on their way to replies.
#[derive(Debug, Default)]
pub(super) struct Replies {
    unread: Vec<u8>,
    code: Option<u16>,
    lines: Vec<String>,
    bytes: usize,
}

impl Replies {
    /// Takes bytes from the server.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// Whether nothing has come that has not been handed out.
    pub(super) fn are_read(&self) -> bool {
        self.unread.is_empty() && self.lines.is_empty()
    }

    /// The next reply; nothing when it is not whole yet.
    ///
    /// # Errors
    ///
    /// [`Garbage`], after which nothing that comes can be understood.
    pub(super) fn next(&mut self) -> Result<Option<Reply>, Garbage> {
        while let Some(line) = self.line()? {
            let (code, is_last, text) = parse(&line)?;
            if *self.code.get_or_insert(code) != code {
                return Err(Garbage("the lines of a reply have different codes"));
            }
            self.lines.push(text);
            if is_last {
                (self.code, self.bytes) = (None, 0);
                let lines = std::mem::take(&mut self.lines);
                return Ok(Some(Reply { code, lines }));
            }
        }
        Ok(None)
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>, Garbage> {
        let end = self.unread.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(self.unread.len(), |end| end + 1);
        if length > LINE_BYTES_MAX {
            return Err(Garbage("a line of a reply is too long"));
        }
        if self.bytes + length > REPLY_BYTES_MAX {
            return Err(Garbage("a reply is too long"));
        }
        if end.is_none() {
            return Ok(None);
        }
        self.bytes += length;
        let mut line: Vec<u8> = self.unread.drain(..length).collect();
        if !line.ends_with(b"\r\n") {
            return Err(Garbage("a line does not end as lines do"));
        }
        line.truncate(length - 2);
        Ok(Some(line))
    }
}

/// Code, whether it is the last line, and text. A last line may be the code alone (RFC 5321, 4.2.1).
fn parse(line: &[u8]) -> Result<(u16, bool, String), Garbage> {
    let no_reply = Garbage("a line is no reply");
    let (code, rest) = line.split_at_checked(3).ok_or(no_reply)?;
    if !(matches!(code[0], b'2'..=b'5') && code[1..].iter().all(u8::is_ascii_digit)) {
        return Err(no_reply);
    }
    let code = code
        .iter()
        .fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    let (is_last, text) = match rest {
        [] => (true, rest),
        [b' ', text @ ..] => (true, text),
        [b'-', text @ ..] => (false, text),
        _ => return Err(no_reply),
    };
    Ok((code, is_last, String::from_utf8_lossy(text).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of the bytes when they come one by one, and at once.
    #[track_caller]
    fn check(bytes: &[u8], expected: Result<Option<(u16, &str)>, &str>) {
        let expected = expected.map_err(str::to_owned);
        let expected = expected.map(|reply| reply.map(|(code, text)| (code, text.to_owned())));
        for size in [1, bytes.len().max(1)] {
            let mut replies = Replies::default();
            let mut got = Ok(None);
            for chunk in bytes.chunks(size) {
                replies.feed(chunk);
                got = replies.next();
                if got != Ok(None) {
                    break;
                }
            }
            let got = got.map_err(|garbage| garbage.0.to_owned());
            let got = got.map(|reply| reply.map(|reply| (reply.code, reply.lines.join("|"))));
            let shown = String::from_utf8_lossy(bytes);
            assert_eq!(got, expected, "{shown:?} by {size}");
        }
    }

    #[test]
    fn a_reply_has_a_code_and_lines() {
        check(b"220 hello\r\n", Ok(Some((220, "hello"))));
        check(b"250\r\n", Ok(Some((250, ""))));
        check(b"250 \r\n", Ok(Some((250, ""))));
        check(b"250-a\r\n250-b\r\n250 c\r\n", Ok(Some((250, "a|b|c"))));
        check(b"250-\r\n250 c\r\n", Ok(Some((250, "|c"))));
        check("550 zurück\r\n".as_bytes(), Ok(Some((550, "zurück"))));
        check(b"550 \xff\r\n", Ok(Some((550, "\u{fffd}"))));
        check(b"250-a\r\n", Ok(None));
        check(b"250 a", Ok(None));
        check(b"", Ok(None));
    }

    #[test]
    fn what_is_no_reply_is_told_from_one() {
        let no_reply = Err("a line is no reply");
        check(b"HTTP/1.1 200 OK\r\n", no_reply);
        check(b"\r\n", no_reply);
        check(b"25\r\n", no_reply);
        check(b"150 a\r\n", no_reply);
        check(b"650 a\r\n", no_reply);
        check(b"2x0 a\r\n", no_reply);
        check(b"2500 a\r\n", no_reply);
        check(b"250_a\r\n", no_reply);
        check(b"250 a\n", Err("a line does not end as lines do"));
        let mixed = Err("the lines of a reply have different codes");
        check(b"250-a\r\n550 b\r\n", mixed);
        check(b"250-a\r\n251-b\r\n250 c\r\n", mixed);
    }

    #[test]
    fn nothing_that_comes_fills_the_memory() {
        let endless = [b"250 ".as_slice(), &[b'a'; LINE_BYTES_MAX]].concat();
        check(&endless, Err("a line of a reply is too long"));
        let lines = b"250-a\r\n".repeat(REPLY_BYTES_MAX / 7 + 1);
        check(&lines, Err("a reply is too long"));
    }

    #[test]
    fn what_comes_behind_a_reply_is_the_next_one() {
        let mut replies = Replies::default();
        replies.feed(b"220 go on\r\n250 injected\r\n");
        assert_eq!(
            replies.next().map(|reply| reply.map(|reply| reply.code)),
            Ok(Some(220))
        );
        assert!(!replies.are_read());
        assert_eq!(
            replies.next().map(|reply| reply.map(|reply| reply.code)),
            Ok(Some(250))
        );
        assert!(replies.are_read());
        replies.feed(b"2");
        assert!(!replies.are_read());
    }

    #[test]
    fn a_refusal_says_for_how_long() {
        let shown = |code, lines: &[&str]| {
            let lines = lines.iter().map(|line| (*line).to_owned()).collect();
            Reply { code, lines }.to_string()
        };
        assert_eq!(
            shown(451, &["4.7.1 later"]),
            "transient error (451): 4.7.1 later"
        );
        assert_eq!(shown(550, &["a", "b"]), "permanent error (550): a b");
    }
}

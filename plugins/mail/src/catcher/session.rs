//! The dialogue of an SMTP server (RFC 5321) without its socket: bytes in, replies and mails out.
//!
//! It takes everything that is well-formed from everybody: that is what a catcher is for. It is strict about the end of a mail,
//! which only `CRLF . CRLF` is.

use super::Envelope;

/// Longest command line, bytes. RFC 5321 asks for 512, extensions for more.
const LINE_BYTES_MAX: usize = 4_096;
/// Recipients of one mail; RFC 5321 asks for at least 100.
const RECIPIENTS_MAX: usize = 100;
/// Commands that are no commands, after which the session ends.
const MISTAKES_MAX: usize = 20;
/// Longest path, bytes.
const PATH_BYTES_MAX: usize = 320;

/// What the session wants its socket to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send this.
    Reply(String),
    /// Keep this mail, then say how that went with [`Session::kept`].
    Mail(Envelope, Vec<u8>),
    /// Send this and close.
    Close(String),
}

/// Where the dialogue is.
#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Commands,
    /// A mail is coming in.
    Data,
    /// A mail was handed out; nothing is read until it is known what became of it.
    Keeping,
    /// Lines of a login, which is always right; how many are still to come.
    Login(usize),
    Closed,
}

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    phase: Phase,
    unread: Vec<u8>,
    envelope: Envelope,
    has_sender: bool,
    is_extended: bool,
    mail: Vec<u8>,
    is_too_large: bool,
    mail_bytes_max: usize,
    mistakes: usize,
}

impl Session {
    pub(super) fn new(mail_bytes_max: usize) -> Self {
        Self {
            phase: Phase::Commands,
            unread: Vec::new(),
            envelope: Envelope::default(),
            has_sender: false,
            is_extended: false,
            mail: Vec::new(),
            is_too_large: false,
            mail_bytes_max,
            mistakes: 0,
        }
    }

    /// What a client hears first.
    pub(super) fn greeting() -> String {
        "220 localhost ESMTP nself mail catcher\r\n".to_owned()
    }

    /// Takes bytes from the client.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.phase != Phase::Closed {
            self.unread.extend_from_slice(bytes);
        }
    }

    /// What to do next; nothing when the client has to go on.
    pub(super) fn step(&mut self) -> Option<Step> {
        match self.phase {
            Phase::Data => return self.data(),
            Phase::Keeping | Phase::Closed => return None,
            Phase::Commands | Phase::Login(_) => {}
        }
        let Some(line) = self.line() else {
            let is_too_long = self.unread.len() > LINE_BYTES_MAX;
            return is_too_long.then(|| self.close("500 5.5.2 the line is too long"));
        };
        let Ok(line) = String::from_utf8(line) else {
            return Some(self.mistake("500 5.5.2 the line is not UTF-8"));
        };
        Some(match self.phase {
            Phase::Login(left) => self.login(left),
            _ => self.command(&line),
        })
    }

    /// Says whether the mail that was handed out is kept.
    pub(super) fn kept(&mut self, outcome: Result<String, ()>) -> String {
        self.phase = Phase::Commands;
        self.reset();
        match outcome {
            Ok(id) => format!("250 2.0.0 kept as {id}\r\n"),
            Err(()) => "451 4.3.0 not kept, try again\r\n".to_owned(),
        }
    }

    /// The next whole line without its end. A lone line feed ends a command, too: people type them.
    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.unread.iter().position(|byte| *byte == b'\n')?;
        let mut line: Vec<u8> = self.unread.drain(..=end).collect();
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some(line)
    }

    fn command(&mut self, line: &str) -> Step {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => self.hello(rest, true),
            "HELO" => self.hello(rest, false),
            "MAIL" => self.sender(rest),
            "RCPT" => self.recipient(rest),
            "DATA" => self.begin_data(),
            "AUTH" => self.auth(rest),
            "RSET" => {
                self.reset();
                reply("250 2.0.0 OK")
            }
            "NOOP" => reply("250 2.0.0 OK"),
            "VRFY" => reply("252 2.1.5 send it and see"),
            "HELP" => reply("214 2.0.0 see RFC 5321"),
            "QUIT" => self.close("221 2.0.0 bye"),
            "STARTTLS" | "EXPN" | "BDAT" | "TURN" | "ETRN" => reply("502 5.5.1 not here"),
            _ => self.mistake("500 5.5.2 there is no such command"),
        }
    }

    fn hello(&mut self, name: &str, is_extended: bool) -> Step {
        if name.is_empty() {
            return self.mistake("501 5.5.4 say who you are");
        }
        self.reset();
        self.is_extended = is_extended;
        name.clone_into(&mut self.envelope.helo);
        if !is_extended {
            return reply("250 localhost");
        }
        Step::Reply(format!(
            "250-localhost\r\n250-PIPELINING\r\n250-SIZE {}\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n\
             250-ENHANCEDSTATUSCODES\r\n250-AUTH PLAIN LOGIN\r\n250 HELP\r\n",
            self.mail_bytes_max
        ))
    }

    fn sender(&mut self, rest: &str) -> Step {
        if self.envelope.helo.is_empty() {
            return reply("503 5.5.1 say EHLO first");
        }
        if self.has_sender {
            return reply("503 5.5.1 there is a sender already");
        }
        let Some((from, parameters)) = path(rest, "FROM:") else {
            return self.mistake("501 5.5.4 expected MAIL FROM:<address>");
        };
        for parameter in parameters.split_ascii_whitespace() {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name.to_ascii_uppercase().as_str() {
                "SIZE" => match value.parse::<usize>() {
                    Ok(size) if size <= self.mail_bytes_max => {}
                    Ok(_) => return reply("552 5.3.4 the mail is too large"),
                    Err(_) => return reply("501 5.5.4 SIZE is not a number"),
                },
                "BODY" | "SMTPUTF8" | "AUTH" => {}
                _ => return reply("555 5.5.4 there is no such parameter"),
            }
        }
        self.envelope.from = from;
        self.has_sender = true;
        reply("250 2.1.0 OK")
    }

    fn recipient(&mut self, rest: &str) -> Step {
        if !self.has_sender {
            return reply("503 5.5.1 say MAIL first");
        }
        let Some((to, _)) = path(rest, "TO:").filter(|(to, _)| !to.is_empty()) else {
            return self.mistake("501 5.5.4 expected RCPT TO:<address>");
        };
        if self.envelope.to.len() >= RECIPIENTS_MAX {
            return reply("452 4.5.3 too many recipients");
        }
        self.envelope.to.push(to);
        reply("250 2.1.5 OK")
    }

    fn begin_data(&mut self) -> Step {
        if self.envelope.to.is_empty() {
            return reply("503 5.5.1 say RCPT first");
        }
        self.phase = Phase::Data;
        self.mail.clear();
        self.is_too_large = false;
        reply("354 end with a line that is a dot")
    }

    /// Takes lines of a mail. A dot before a line that begins with one is the sender's way to keep it from being the end
    /// (RFC 5321, 4.5.2).
    fn data(&mut self) -> Option<Step> {
        let mut read = 0;
        let is_whole = loop {
            let rest = &self.unread[read..];
            let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else {
                break false;
            };
            let line = &rest[..end + 2];
            read += line.len();
            if line == b".\r\n" {
                break true;
            }
            let line = line.strip_prefix(b".").unwrap_or(line);
            if self.mail.len() + line.len() > self.mail_bytes_max {
                self.is_too_large = true;
            } else if !self.is_too_large {
                self.mail.extend_from_slice(line);
            }
        };
        self.unread.drain(..read);
        if !is_whole {
            // A line that does not end may not fill the memory either.
            if self.unread.len() > self.mail_bytes_max {
                return Some(self.close("552 5.3.4 the mail is too large"));
            }
            return None;
        }
        if self.is_too_large {
            self.phase = Phase::Commands;
            self.reset();
            return Some(reply("552 5.3.4 the mail is too large"));
        }
        self.phase = Phase::Keeping;
        let mail = std::mem::take(&mut self.mail);
        Some(Step::Mail(self.envelope.clone(), mail))
    }

    /// Any user with any password may send.
    fn auth(&mut self, rest: &str) -> Step {
        let mut words = rest.split_ascii_whitespace();
        let mechanism = words.next().unwrap_or_default().to_ascii_uppercase();
        match (mechanism.as_str(), words.next()) {
            ("PLAIN", None) => {
                self.phase = Phase::Login(0);
                reply("334 ")
            }
            ("LOGIN", None) => {
                self.phase = Phase::Login(1);
                reply("334 VXNlcm5hbWU6")
            }
            ("LOGIN", Some(_)) => {
                self.phase = Phase::Login(0);
                reply("334 UGFzc3dvcmQ6")
            }
            ("PLAIN", Some(_)) => reply("235 2.7.0 welcome"),
            _ => reply("504 5.5.4 there is PLAIN and LOGIN"),
        }
    }

    fn login(&mut self, left: usize) -> Step {
        if left == 0 {
            self.phase = Phase::Commands;
            return reply("235 2.7.0 welcome");
        }
        self.phase = Phase::Login(left - 1);
        reply("334 UGFzc3dvcmQ6")
    }

    fn reset(&mut self) {
        self.envelope.from.clear();
        self.envelope.to.clear();
        self.has_sender = false;
        self.mail = Vec::new();
    }

    fn mistake(&mut self, text: &str) -> Step {
        self.mistakes += 1;
        if self.mistakes >= MISTAKES_MAX {
            return self.close("421 4.7.0 too many mistakes");
        }
        reply(text)
    }

    fn close(&mut self, text: &str) -> Step {
        self.phase = Phase::Closed;
        self.unread = Vec::new();
        Step::Close(format!("{text}\r\n"))
    }
}

fn reply(text: &str) -> Step {
    Step::Reply(format!("{text}\r\n"))
}

/// The address behind `FROM:` or `TO:`, and the parameters behind it. A source route in front of it is dropped (RFC 5321,
/// appendix C).
fn path<'a>(rest: &'a str, keyword: &str) -> Option<(String, &'a str)> {
    let head = rest.get(..keyword.len())?;
    let rest = rest.get(keyword.len()..)?;
    if !head.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let (path, parameters) = rest.trim_start().strip_prefix('<')?.split_once('>')?;
    let address = match path.strip_prefix('@') {
        Some(route) => route.split_once(':')?.1,
        None => path,
    };
    let is_plain = !address
        .chars()
        .any(|c| c.is_control() || c.is_whitespace() || c == '<');
    (is_plain && address.len() <= PATH_BYTES_MAX).then(|| (address.to_owned(), parameters))
}

#[cfg(test)]
mod tests;

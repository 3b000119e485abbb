//! A caught mail, taken apart: as MailHog shows it, raw, and as people read it, decoded.

use std::{borrow::Cow, collections::BTreeMap};

use mail_parser::{Message, MessageParser, MimeHeaders, PartType};

/// Parts inside parts that are looked at.
const DEPTH_MAX: usize = 10;

/// A mail.
pub(crate) struct Mime<'a> {
    raw: &'a [u8],
    parsed: Option<Message<'a>>,
}

/// A part with its raw headers and its raw body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub headers: BTreeMap<String, Vec<String>>,
    pub body: String,
    /// Bytes of both.
    pub size: usize,
    /// Its own parts; nothing when it is not made of any.
    pub parts: Option<Vec<Part>>,
}

impl<'a> Mime<'a> {
    /// Takes a mail apart; there is none that cannot be.
    pub(crate) fn parse(raw: &'a [u8]) -> Self {
        let parsed = MessageParser::default().parse(raw);
        Self { raw, parsed }
    }

    /// A header, decoded; empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> String {
        let parsed = self.parsed.as_ref();
        let decoded = match name {
            "Subject" => parsed.and_then(|message| message.subject().map(str::to_owned)),
            _ => None,
        };
        let raw = || {
            let (headers, _) = split(self.raw);
            let headers = read_headers(headers);
            let found = headers
                .into_iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, values)| values.join(", "))
        };
        let address = match name {
            "From" => parsed.and_then(Message::from),
            "To" => parsed.and_then(Message::to),
            _ => None,
        };
        let address = address.map(|address| {
            let one = |address: &mail_parser::Addr<'_>| {
                let email = address.address.as_deref().unwrap_or_default();
                match &address.name {
                    Some(name) => format!("{name} <{email}>"),
                    None => email.to_owned(),
                }
            };
            address.iter().map(one).collect::<Vec<_>>().join(", ")
        });
        decoded.or(address).or_else(raw).unwrap_or_default()
    }

    /// The plain text, decoded.
    pub(crate) fn text(&self) -> Option<Cow<'_, str>> {
        self.find(|body| match body {
            PartType::Text(text) => Some(text),
            _ => None,
        })
    }

    /// The HTML, decoded.
    pub(crate) fn html(&self) -> Option<Cow<'_, str>> {
        self.find(|body| match body {
            PartType::Html(html) => Some(html),
            _ => None,
        })
    }

    fn find(
        &self,
        which: impl for<'b> Fn(&'b PartType<'a>) -> Option<&'b Cow<'a, str>>,
    ) -> Option<Cow<'_, str>> {
        let parts = self.parsed.iter().flat_map(|message| &message.parts);
        let found = parts
            .filter(|part| {
                part.content_disposition()
                    .is_none_or(|disposition| !disposition.is_attachment())
            })
            .find_map(|part| which(&part.body));
        found.map(|text| Cow::Borrowed(&**text))
    }

    /// Names of what is attached.
    pub(crate) fn attachments(&self) -> Vec<String> {
        let parts = self.parsed.iter().flat_map(Message::attachments);
        parts
            .map(|part| part.attachment_name().unwrap_or("unnamed").to_owned())
            .collect()
    }

    /// Everything that a search looks at: the mail as it came, and what its parts say.
    pub(crate) fn searched(&self) -> String {
        let mut text = self.header("Subject");
        for part in [self.text(), self.html()].into_iter().flatten() {
            text.push('\n');
            text.push_str(&part);
        }
        text.push('\n');
        text.push_str(&String::from_utf8_lossy(self.raw));
        text
    }

    /// The mail as a tree of raw parts.
    pub(crate) fn tree(&self) -> Part {
        let (headers, body) = split(self.raw);
        let parts = self
            .parsed
            .as_ref()
            .and_then(|message| self.children(message, 0, DEPTH_MAX));
        Part {
            headers: read_headers(headers),
            body: String::from_utf8_lossy(body).into_owned(),
            size: self.raw.len(),
            parts,
        }
    }

    fn children(&self, message: &Message<'_>, number: usize, depth: usize) -> Option<Vec<Part>> {
        let PartType::Multipart(numbers) = &message.parts.get(number)?.body else {
            return None;
        };
        if depth == 0 {
            return None;
        }
        let numbers = numbers
            .iter()
            .filter_map(|number| usize::try_from(*number).ok());
        let one = |number: usize| {
            let part = message.parts.get(number)?;
            let (start, body) = (part.raw_header_offset(), part.raw_body_offset());
            let headers = self.slice(start, body);
            let body = self.slice(body, part.raw_end_offset());
            Some(Part {
                headers: read_headers(headers),
                size: headers.len() + body.len(),
                body: String::from_utf8_lossy(body)
                    .trim_matches(['\r', '\n'])
                    .to_owned(),
                parts: self.children(message, number, depth - 1),
            })
        };
        Some(numbers.filter_map(one).collect())
    }

    fn slice(&self, start: u32, end: u32) -> &'a [u8] {
        let index = |offset: u32| usize::try_from(offset).unwrap_or(usize::MAX);
        self.raw.get(index(start)..index(end)).unwrap_or_default()
    }
}

/// Headers and body of a raw mail.
fn split(raw: &[u8]) -> (&[u8], &[u8]) {
    match raw.windows(4).position(|four| four == b"\r\n\r\n") {
        Some(end) => (&raw[..end], &raw[end + 4..]),
        None => (raw, &[]),
    }
}

/// Headers by the names that they have, folded lines joined.
fn read_headers(raw: &[u8]) -> BTreeMap<String, Vec<String>> {
    let text = String::from_utf8_lossy(raw);
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut last: Option<String> = None;
    for line in text.lines() {
        let folded = line.starts_with([' ', '\t']);
        if let (true, Some(value)) = (
            folded,
            last.as_ref()
                .and_then(|name| headers.get_mut(name)?.last_mut()),
        ) {
            value.push(' ');
            value.push_str(line.trim());
        } else if let Some((name, value)) = line.split_once(':') {
            let name = name.trim().to_owned();
            let values = headers.entry(name.clone()).or_default();
            values.push(value.trim().to_owned());
            last = Some(name);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &[u8] = b"From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\nTo: Ada <ada@example.org>,\r\n bob@example.org\r\n\
        Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=\"b\"\r\n\r\n\
        --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n\
        --b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nPHA+R3LDvMOfZTwvcD4=\r\n--b--\r\n";

    #[test]
    fn people_read_a_mail_decoded() {
        let mime = Mime::parse(MAIL);
        assert_eq!(mime.header("Subject"), "Grüße");
        assert_eq!(mime.header("From"), "Jürgen <j@example.org>");
        assert_eq!(mime.header("To"), "Ada <ada@example.org>, bob@example.org");
        assert_eq!(mime.text().as_deref().map(str::trim), Some("Grüße"));
        assert_eq!(mime.html().as_deref(), Some("<p>Grüße</p>"));
        assert!(mime.searched().contains("<p>Grüße</p>"));
    }

    #[test]
    fn programs_read_its_parts_as_they_came() {
        let tree = Mime::parse(MAIL).tree();
        assert_eq!(
            tree.headers["To"],
            ["Ada <ada@example.org>, bob@example.org"]
        );
        assert!(tree.body.starts_with("--b\r\n"));
        let parts = tree.parts.expect("it is made of parts");
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0].body, "Gr=C3=BC=C3=9Fe");
        assert_eq!(
            parts[1].headers["Content-Type"],
            ["text/html; charset=utf-8"]
        );
        assert_eq!(parts[1].body, "PHA+R3LDvMOfZTwvcD4=");
    }

    #[test]
    fn there_is_no_mail_that_cannot_be_shown() {
        for raw in [
            &b""[..],
            b"\r\n",
            b"\r\n\r\n",
            b"no header\r\n",
            b" folded\r\n",
            b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x",
            &[0xff; 100],
        ] {
            let mime = Mime::parse(raw);
            let tree = mime.tree();
            assert!(tree.body.len() <= raw.len() * 3);
            assert!(mime.html().is_none());
        }
    }
}

//! Answers: whole ones, and streams of events.

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use crate::wait::within;

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// The request, for messages.
    pub(crate) what: String,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body read as JSON.
    ///
    /// # Panics
    ///
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{}: {error} in {:?}", self.what, self.text()))
    }

    /// What stands under `data` in the body.
    ///
    /// # Panics
    ///
    /// When the body is not JSON.
    pub fn data(&self) -> Value {
        self.json()["data"].take()
    }

    /// The machine-readable code of a refusal; empty when the body has none.
    pub fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The same answer.
    ///
    /// # Panics
    ///
    /// When its status is another.
    #[track_caller]
    #[must_use]
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.what, self.text());
        self
    }
}

/// One server-sent event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerEvent {
    /// Its type; empty for `message`.
    pub event: String,
    /// Its id.
    pub id: String,
    /// Its data.
    pub data: String,
}

/// Reads server-sent events (WHATWG HTML, section 9.2) off an answer. Dropped, it hangs up.
pub struct EventReader {
    body: Incoming,
    text: String,
}

impl EventReader {
    pub(crate) fn new(body: Incoming) -> Self {
        Self {
            body,
            text: String::new(),
        }
    }

    /// The next event; nothing at the end of the stream. Comments are passed over.
    ///
    /// # Panics
    ///
    /// When the connection breaks, or nothing comes.
    pub async fn next(&mut self) -> Option<ServerEvent> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                match parse(&block) {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            let frame = within("the next event", self.body.frame()).await?;
            let frame = frame.expect("the connection stays until the end of the stream");
            if let Ok(data) = frame.into_data() {
                self.text
                    .push_str(std::str::from_utf8(&data).expect("events are whole text"));
            }
        }
    }
}

fn parse(block: &str) -> Option<ServerEvent> {
    let mut event = ServerEvent::default();
    let mut data: Option<String> = None;
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut event.event),
            "id" => value.clone_into(&mut event.id),
            "data" => match &mut data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => data = Some(value.to_owned()),
            },
            _ => {}
        }
    }
    event.data = data?;
    Some(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_its_fields_and_a_comment_is_none() {
        let event = parse("id: 7\nevent: note\ndata: a\ndata: b\n\n").expect("it has data");
        assert_eq!(
            (&*event.id, &*event.event, &*event.data),
            ("7", "note", "a\nb")
        );
        assert_eq!(parse(": still here\n\n"), None);
    }
}

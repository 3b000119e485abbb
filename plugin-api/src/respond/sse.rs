//! Server-sent events (WHATWG HTML, section 9.2).

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{HeaderValue, StatusCode, header};

use super::{Respond, Response};
use crate::error::Result;

/// One event of a stream.
#[derive(Debug, Clone, Default)]
pub struct SseEvent {
    text: String,
}

impl SseEvent {
    /// An event with that data; each of its lines becomes a `data:` line.
    pub fn data(data: &str) -> Self {
        let mut this = Self::default();
        for line in data.split('\n') {
            this.field("data", line);
        }
        this
    }

    /// A comment, which clients ignore: it keeps the connection open.
    pub fn comment(text: &str) -> Self {
        let mut this = Self::default();
        this.field("", text);
        this
    }

    /// Its id, which a client sends back as `Last-Event-ID`.
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        self.field("id", id);
        self
    }

    /// Its type, `message` when unset.
    #[must_use]
    pub fn event(mut self, name: &str) -> Self {
        self.field("event", name);
        self
    }

    /// How long a client waits before it reconnects.
    #[must_use]
    pub fn retry(mut self, after: Duration) -> Self {
        self.field("retry", &after.as_millis().to_string());
        self
    }

    /// Appends a field. Line breaks would start another field: they become spaces.
    fn field(&mut self, name: &str, value: &str) {
        self.text.push_str(name);
        self.text.push_str(": ");
        self.text.extend(
            value
                .chars()
                .filter(|c| *c != '\0')
                .map(|c| if matches!(c, '\r' | '\n') { ' ' } else { c }),
        );
        self.text.push('\n');
    }

    fn into_bytes(mut self) -> Bytes {
        self.text.push('\n');
        self.text.into()
    }
}

/// A stream of events as an answer: `Sse(stream)`.
pub struct Sse<S>(pub S);

impl<S> Respond for Sse<S>
where
    S: Stream<Item = Result<SseEvent>> + Send + 'static,
{
    const KIND: &'static str = "sse";

    fn respond(self) -> Result<Response> {
        let body = self.0.map(|event| event.map(SseEvent::into_bytes));
        Ok(Response::stream(StatusCode::OK, body)
            .content_type("text/event-stream")
            .header(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))
            // Proxies of the nginx kind buffer otherwise.
            .header(
                header::HeaderName::from_static("x-accel-buffering"),
                HeaderValue::from_static("no"),
            ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_cannot_be_split_by_its_own_data() {
        let event = SseEvent::data("a\nb\rc")
            .id("7\ndata: x")
            .event("note")
            .into_bytes();
        assert_eq!(event, "data: a\ndata: b c\nid: 7 data: x\nevent: note\n\n");
    }
}

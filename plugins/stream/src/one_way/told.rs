//! Frames as events. Centrifugo's clients get each push as it is; Mercure's get what was published and nothing around it.
//! The id of an event says where the client is when it has it, in all of its channels.

use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
};

use nself_plugin_api::{futures_util::Stream as Events, futures_util::stream, prelude::*};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{Open, outlet::Next};
use crate::{
    error::StreamError,
    outlet::Frame,
    positions::Positions,
    protocol::{ConnectResult, End, Publication, Push, bare, pushed},
};

/// How a client wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wording {
    /// Each push of Centrifugo's unidirectional protocol.
    Pushes,
    /// The data of publications.
    Data,
}

/// An answer that does not end by itself.
pub(crate) struct Telling {
    open: Open,
    wording: Wording,
    /// What comes before everything else.
    first: VecDeque<SseEvent>,
    positions: Positions,
    /// Epochs of the channels that have positions.
    epochs: HashMap<String, String>,
    is_over: bool,
}

/// What of a push decides how it is told.
#[derive(Deserialize)]
struct Seen<'a> {
    #[serde(borrow, default)]
    channel: Cow<'a, str>,
    #[serde(borrow, default, rename = "pub")]
    publication: Option<Published<'a>>,
    #[serde(borrow, default)]
    subscribe: Option<Begun<'a>>,
    #[serde(default)]
    unsubscribe: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Published<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(default)]
    offset: i64,
    #[serde(borrow, default)]
    tags: Tags<'a>,
}

/// Of the tags of a publication, the one that Mercure knows: its events have types.
#[derive(Default, Deserialize)]
struct Tags<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Begun<'a> {
    #[serde(borrow, default)]
    epoch: Cow<'a, str>,
    #[serde(default)]
    offset: i64,
}

impl Telling {
    /// A connection that begins with what it begins with: for Centrifugo's clients the push that says so, for Mercure's what
    /// was missed, and the channels of which something was missed that cannot be had.
    pub(crate) fn new(open: Open, wording: Wording, connect: ConnectResult) -> Self {
        let mut this = Self {
            open,
            wording,
            first: VecDeque::new(),
            positions: Positions::default(),
            epochs: HashMap::new(),
            is_over: false,
        };
        for (channel, result) in &connect.subs {
            if result.recoverable {
                this.begin(channel, &result.epoch, result.offset);
            }
        }
        match wording {
            Wording::Pushes => this.first_push(&connect),
            Wording::Data => this.first_data(connect),
        }
        this
    }

    fn begin(&mut self, channel: &str, epoch: &str, offset: i64) {
        self.positions.set(epoch, offset);
        self.epochs.insert(channel.to_owned(), epoch.to_owned());
    }

    fn first_push(&mut self, connect: &ConnectResult) {
        let push = Push {
            connect: Some(connect),
            ..Push::default()
        };
        let event = SseEvent::data(&bare(&push));
        let event = self.with_id(event);
        self.first.push_back(event);
    }

    fn first_data(&mut self, connect: ConnectResult) {
        let mut lost = Vec::new();
        let mut missed = Vec::new();
        for (channel, result) in connect.subs {
            if result.recovered {
                // Going on one by one: a client that is cut off among them comes again for the rest.
                if let Some(first) = result.publications.first() {
                    self.positions.set(&result.epoch, first.offset - 1);
                }
                missed.push((channel, result.publications));
            } else if result.recoverable && result.was_recovering {
                lost.push(channel);
            }
        }
        // Nothing is told by it but where the client is.
        let begin = self.with_id(SseEvent::comment("begin"));
        self.first.push_back(begin);
        if !lost.is_empty() {
            let event = SseEvent::data(&json!({"topics": lost}).to_string()).event("lost");
            let event = self.with_id(event);
            self.first.push_back(event);
        }
        for (channel, publications) in missed {
            for publication in publications {
                let event = self.missed(&channel, &publication);
                self.first.push_back(event);
            }
        }
    }

    fn missed(&mut self, channel: &str, publication: &Publication) -> SseEvent {
        let tags = publication.tags.as_ref();
        let tags = tags.and_then(|tags| serde_json::from_str(tags.get()).ok());
        let published = Published {
            data: &publication.data,
            offset: publication.offset,
            tags: tags.unwrap_or_default(),
        };
        self.publication(channel, &published)
    }

    /// The events, until the connection ends.
    pub(crate) fn events(self) -> impl Events<Item = Result<SseEvent>> + Send + 'static {
        stream::unfold(self, async |mut this| {
            let event = this.next().await?;
            Some((event, this))
        })
    }

    async fn next(&mut self) -> Option<Result<SseEvent>> {
        if let Some(event) = self.first.pop_front() {
            return Some(Ok(event));
        }
        while !self.is_over {
            let event = match self.open.waiting.next().await {
                Next::Frame(frame) => self.tell(&frame),
                Next::Close(why) => self.end(&why),
                Next::Cut => {
                    self.is_over = true;
                    return Some(Err(StreamError::Unavailable.into()));
                }
            };
            if let Some(event) = event {
                return Some(Ok(event));
            }
        }
        None
    }

    /// The last event, where the client's protocol has one.
    fn end(&mut self, why: &End) -> Option<SseEvent> {
        self.is_over = true;
        let push = Push {
            disconnect: Some(why),
            ..Push::default()
        };
        (self.wording == Wording::Pushes).then(|| SseEvent::data(&bare(&push)))
    }

    fn tell(&mut self, frame: &Frame) -> Option<SseEvent> {
        let Some(push) = pushed(frame) else {
            return Some(match self.wording {
                Wording::Pushes => SseEvent::data("{}"),
                Wording::Data => SseEvent::comment("still here"),
            });
        };
        let seen: Seen<'_> = serde_json::from_str(push).ok()?;
        if seen.unsubscribe.is_some() {
            if let Some(epoch) = self.epochs.remove(&*seen.channel) {
                self.positions.forget(&epoch);
            }
            // A request that is answered in part is no answer: who comes again learns what it may still hear.
            self.is_over = self.wording == Wording::Data;
        }
        if let Some(begun) = seen.subscribe.filter(|begun| !begun.epoch.is_empty()) {
            self.begin(&seen.channel, &begun.epoch, begun.offset);
        }
        match (self.wording, seen.publication) {
            (Wording::Data, Some(publication)) => {
                Some(self.publication(&seen.channel, &publication))
            }
            (Wording::Data, None) => None,
            (Wording::Pushes, publication) => {
                if let Some(publication) = publication {
                    self.go_on(&seen.channel, publication.offset);
                }
                let event = SseEvent::data(push);
                Some(self.with_id(event))
            }
        }
    }

    fn publication(&mut self, channel: &str, publication: &Published<'_>) -> SseEvent {
        self.go_on(channel, publication.offset);
        let mut event = SseEvent::data(publication.data.get());
        if !publication.tags.kind.is_empty() {
            event = event.event(&publication.tags.kind);
        }
        self.with_id(event)
    }

    /// The client has the publication of that offset; what is not kept has none.
    fn go_on(&mut self, channel: &str, offset: i64) {
        if let Some(epoch) = self.epochs.get(channel).filter(|_| offset > 0) {
            self.positions.set(epoch, offset);
        }
    }

    fn with_id(&self, event: SseEvent) -> SseEvent {
        if self.positions.is_empty() {
            return event;
        }
        event.id(&self.positions.to_string())
    }
}

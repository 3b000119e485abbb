//! Traces: to which one belongs what is done now, and the spans of those that are recorded.
//!
//! A trace is recorded when there is a collector and the sampler wants it. Everything else of the host asks its [`Trace`] for a span, and
//! gets none where nothing is recorded: that is a look at a pointer, and costs no memory and no clock.

use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderValue};
use prometheus::IntCounter;
use tokio::{sync::mpsc, task::futures::TaskLocalFuture};

use super::{
    otlp::wire::{Message, Value},
    sampler::Sampler,
};
use crate::http::TraceContext;

/// A `tracestate` that is longer is left behind, as the standard allows.
const STATE_BYTES_MAX: usize = 512;

/// Longest text of an attribute, but for those that have a limit of their own.
const TEXT_BYTES_MAX: usize = 256;

tokio::task_local! {
    /// A plugin's future is polled by the host, and what it asks of a capability is asked within such a poll. So the trace stands
    /// beside the poll.
    static TRACE: Trace;
}

/// The trace of what is done now, where it is for somebody.
pub fn current() -> Option<Trace> {
    TRACE.try_with(Clone::clone).ok()
}

/// A span below what is done now, where that is recorded.
pub(crate) fn begin(kind: Kind, name: impl Into<Cow<'static, str>>) -> Option<Box<Span>> {
    TRACE.try_with(|trace| trace.begin(kind, name)).ok()?
}

/// Where something is in its trace, what callers have said of it, and who gets its spans.
#[derive(Debug, Clone)]
pub struct Trace {
    context: TraceContext,
    state: Option<HeaderValue>,
    /// Only in traces that are recorded.
    tracer: Option<Tracer>,
}

impl From<TraceContext> for Trace {
    /// One that is not recorded here.
    fn from(context: TraceContext) -> Self {
        Self {
            context,
            state: None,
            tracer: None,
        }
    }
}

impl Trace {
    /// The trace that a request belongs to, or a new one.
    #[must_use]
    pub fn of_request(headers: &HeaderMap, tracer: Option<&Tracer>) -> Self {
        let parent = headers.get("traceparent");
        let parent = parent.and_then(|value| TraceContext::parse(value.to_str().ok()?));
        Self {
            state: parent.and_then(|_| state(headers)),
            ..Self::below(parent, tracer)
        }
    }

    /// A place below the parent, or in a new trace.
    #[must_use]
    pub fn below(parent: Option<TraceContext>, tracer: Option<&Tracer>) -> Self {
        let mut trace = Self::from(parent.map_or_else(TraceContext::root, |parent| parent.child()));
        if let Some(tracer) = tracer {
            let context = &mut trace.context;
            let said = parent.map(|parent| parent.sampled);
            context.sampled = tracer.0.sampler.records(said, context.trace_id);
            trace.tracer = context.sampled.then(|| tracer.clone());
        }
        trace
    }

    /// Where it is.
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    /// What other programs on the way have added, for the next one.
    pub(crate) fn state(&self) -> Option<&HeaderValue> {
        self.state.as_ref()
    }

    /// The span of this place itself, whose parent is in another process.
    pub(crate) fn span(&self, kind: Kind, name: impl Into<Cow<'static, str>>) -> Option<Box<Span>> {
        let is_remote = self.context.parent_id.is_some();
        Some(Span::new(
            self.clone(),
            is_remote,
            kind,
            name.into(),
            self.tracer.clone()?,
        ))
    }

    /// A span below this place.
    pub(crate) fn begin(
        &self,
        kind: Kind,
        name: impl Into<Cow<'static, str>>,
    ) -> Option<Box<Span>> {
        let tracer = self.tracer.clone()?;
        let trace = Self {
            context: self.context.child(),
            ..self.clone()
        };
        Some(Span::new(trace, false, kind, name.into(), tracer))
    }

    /// Does what `future` does at this place.
    pub fn scope<F: Future>(self, future: F) -> TaskLocalFuture<Self, F> {
        TRACE.scope(self, future)
    }

    /// Does `work` at this place.
    pub fn sync_scope<R>(self, work: impl FnOnce() -> R) -> R {
        TRACE.sync_scope(self, work)
    }
}

/// Several headers are one list.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut states = headers.get_all("tracestate").iter();
    let first = states.next()?;
    let state = match states.next() {
        None => first.clone(),
        Some(second) => {
            let all = [first, second].into_iter().chain(states);
            let all: Vec<&[u8]> = all.map(HeaderValue::as_bytes).collect();
            HeaderValue::from_bytes(&all.join(&b","[..])).ok()?
        }
    };
    let is_text = state.to_str().is_ok();
    Some(state).filter(|state| is_text && !state.is_empty() && state.len() <= STATE_BYTES_MAX)
}

/// Who gets spans. Cheap to clone.
#[derive(Clone)]
pub struct Tracer(Arc<Inbox>);

struct Inbox {
    sampler: Sampler,
    queue: mpsc::Sender<Vec<u8>>,
    overflow: IntCounter,
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tracer")
    }
}

impl Tracer {
    /// One that puts spans into this queue, and counts those for which there was no room.
    pub(super) fn new(
        sampler: Sampler,
        queue: mpsc::Sender<Vec<u8>>,
        overflow: IntCounter,
    ) -> Self {
        Self(Arc::new(Inbox {
            sampler,
            queue,
            overflow,
        }))
    }
}

/// What a span is in the talk between programs, by its number in OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Within the host.
    Internal = 1,
    /// It answers.
    Server = 2,
    /// It asks.
    Client = 3,
    /// It works something that was left for it.
    Consumer = 5,
}

/// Something that takes its time. It ends when it is dropped, and counts as cancelled if nobody has said before how it went.
pub(crate) struct Span {
    trace: Trace,
    tracer: Tracer,
    is_remote: bool,
    kind: Kind,
    name: Cow<'static, str>,
    begun: SystemTime,
    since: Instant,
    attributes: Message,
    is_told: bool,
    is_error: bool,
}

/// Numbers of the fields of a `Span` in OTLP.
mod field {
    pub(super) const TRACE_ID: u32 = 1;
    pub(super) const SPAN_ID: u32 = 2;
    pub(super) const TRACE_STATE: u32 = 3;
    pub(super) const PARENT_SPAN_ID: u32 = 4;
    pub(super) const NAME: u32 = 5;
    pub(super) const KIND: u32 = 6;
    pub(super) const START_TIME: u32 = 7;
    pub(super) const END_TIME: u32 = 8;
    pub(super) const ATTRIBUTES: u32 = 9;
    pub(super) const STATUS: u32 = 15;
    pub(super) const STATUS_CODE: u32 = 3;
    pub(super) const FLAGS: u32 = 16;
}

/// `STATUS_CODE_ERROR`.
const ERROR: u64 = 2;
/// The trace flags are those of W3C, and whether the parent is in another process is known and true.
const SAMPLED: u32 = 0x01;
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

impl Span {
    fn new(
        trace: Trace,
        is_remote: bool,
        kind: Kind,
        name: Cow<'static, str>,
        tracer: Tracer,
    ) -> Box<Self> {
        Box::new(Self {
            trace,
            tracer,
            is_remote,
            kind,
            name,
            begun: SystemTime::now(),
            since: Instant::now(),
            attributes: Message::with_capacity(256),
            is_told: false,
            is_error: false,
        })
    }

    /// The place of what is done within it.
    pub(crate) fn trace(&self) -> Trace {
        self.trace.clone()
    }

    /// Names it when more is known.
    pub(crate) fn rename(&mut self, name: String) {
        self.name = name.into();
    }

    /// Adds a text, no more than 256 bytes of it.
    pub(crate) fn text(&mut self, key: &str, text: &str) -> &mut Self {
        let mut cuts = (0..=text.len().min(TEXT_BYTES_MAX)).rev();
        let cut = cuts.find(|cut| text.is_char_boundary(*cut));
        self.long_text(key, &text[..cut.unwrap_or_default()])
    }

    /// Adds a text that has a limit of its own.
    pub(crate) fn long_text(&mut self, key: &str, text: &str) -> &mut Self {
        self.attributes
            .attribute(field::ATTRIBUTES, key, Value::Text(text));
        self
    }

    /// Adds a number.
    pub(crate) fn number(&mut self, key: &str, number: i64) -> &mut Self {
        self.attributes
            .attribute(field::ATTRIBUTES, key, Value::Number(number));
        self
    }

    /// It went well.
    pub(crate) fn succeed(&mut self) {
        self.is_told = true;
    }

    /// It failed; `error` is one of few words, as there are codes.
    pub(crate) fn fail(&mut self, error: &str) {
        self.text("error.type", error);
        self.is_told = true;
        self.is_error = true;
    }

    fn encode(&self) -> Vec<u8> {
        let begun = self.begun.duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanos = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let TraceContext {
            trace_id,
            span_id,
            parent_id,
            ..
        } = self.trace.context;
        let parent_id = parent_id.map(u64::to_be_bytes);
        let state = self.trace.state.as_ref().map(HeaderValue::as_bytes);
        let mut span = Message::with_capacity(self.attributes.len() + self.name.len() + 96);
        span.bytes(field::TRACE_ID, &trace_id.to_be_bytes())
            .bytes(field::SPAN_ID, &span_id.to_be_bytes())
            .bytes(field::TRACE_STATE, state.unwrap_or_default())
            .bytes(
                field::PARENT_SPAN_ID,
                parent_id.as_ref().map_or(&[], |id| id),
            )
            .bytes(field::NAME, self.name.as_bytes())
            .number(field::KIND, self.kind as u64)
            .fixed64(field::START_TIME, nanos(begun))
            .fixed64(field::END_TIME, nanos(begun + self.since.elapsed()))
            .append(&self.attributes);
        if self.is_error {
            let mut status = Message::default();
            status.number(field::STATUS_CODE, ERROR);
            span.message(field::STATUS, &status);
        }
        let remote = if self.is_remote { IS_REMOTE } else { 0 };
        span.fixed32(field::FLAGS, SAMPLED | HAS_IS_REMOTE | remote);
        span.into_bytes()
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if !self.is_told {
            self.fail("cancelled");
        }
        let inbox = &self.tracer.0;
        // Nobody waits for room: what is recorded must not slow down what it is about.
        if inbox.queue.try_send(self.encode()).is_err() {
            inbox.overflow.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(states: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", HeaderValue::from_static(PARENT));
        for state in states {
            headers.append("tracestate", HeaderValue::from_static(state));
        }
        headers
    }

    #[test]
    fn without_a_collector_there_are_no_spans_and_the_callers_word_goes_on() {
        let trace = Trace::of_request(&headers(&[]), None);
        assert!(trace.context().sampled);
        assert!(trace.begin(Kind::Internal, "handler").is_none());
        assert!(trace.span(Kind::Server, "HTTP").is_none());
        assert!(trace.sync_scope(|| begin(Kind::Client, "HTTP")).is_none());
        assert!(
            begin(Kind::Client, "HTTP").is_none(),
            "outside of any trace"
        );
    }

    #[test]
    fn a_state_is_kept_whole_or_not_at_all() {
        let kept = |states: &[&'static str]| {
            let trace = Trace::of_request(&headers(states), None);
            trace.state.map(|state| state.as_bytes().to_vec())
        };
        assert_eq!(kept(&[]), None);
        assert_eq!(kept(&["a=1", "b=2", "c=3"]), Some(b"a=1,b=2,c=3".to_vec()));
        let long = "x".repeat(STATE_BYTES_MAX).leak();
        assert_eq!(kept(&["a=1", long]), None);
        let mut without = headers(&["a=1"]);
        without.remove("traceparent");
        assert!(
            Trace::of_request(&without, None).state.is_none(),
            "it belongs to a trace"
        );
    }

    #[test]
    fn long_texts_are_cut_where_a_letter_ends() {
        let (queue, _spans) = mpsc::channel(1);
        let overflow = IntCounter::new("overflow", "Spans.").expect("a counter");
        let tracer = Tracer::new(Sampler::new(1.0, true), queue, overflow.clone());
        let trace = Trace::below(None, Some(&tracer));
        for _ in 0..2 {
            let mut span = trace.span(Kind::Server, "HTTP").expect("it is recorded");
            span.text("a", &"ä".repeat(200))
                .text("b", &format!("x{}", "ä".repeat(200)));
            assert!(span.attributes.len() < 2 * (TEXT_BYTES_MAX + 16));
            span.succeed();
        }
        assert_eq!(overflow.get(), 1, "there was room for one");
    }
}

//! The log of a plugin in its own process: which span a thread is in is known here, and goes along with each event.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use dashmap::DashMap;
use nself_plugin_api::abi::{
    bytes::Str,
    capability::log::{Log, LogProvider},
    wire::{RemoteObject, Wire},
};

use crate::plugin::isolated::offered::{SpanSent, log};

thread_local! {
    /// The spans that this thread is in, the innermost last.
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// What of a span goes along with events.
#[derive(Clone)]
struct Span {
    level: u32,
    target: String,
    name: String,
    fields: String,
}

struct ProcessLog {
    object: RemoteObject,
    next: AtomicU64,
    spans: DashMap<u64, Span>,
}

/// The log behind that object.
pub(super) fn capability(object: RemoteObject) -> Log {
    Log::new(Arc::new(ProcessLog {
        object,
        next: AtomicU64::new(1),
        spans: DashMap::new(),
    }))
}

impl LogProvider for ProcessLog {
    fn level(&self) -> u32 {
        let level = self.object.ask(log::LEVEL, self.object.arguments());
        level.unwrap_or_default()
    }

    fn event(&self, level: u32, target: Str<'_>, message: Str<'_>, fields: Str<'_>) {
        let entered = ENTERED.with_borrow(Clone::clone);
        let spans: Vec<Span> = entered
            .iter()
            .filter_map(|number| self.spans.get(number).map(|span| span.clone()))
            .collect();
        let out = self.object.arguments().with(level);
        let out = [target, message, fields]
            .iter()
            .fold(out, |out, text| out.bytes(text.as_str().as_bytes()));
        let out = out.with(u32::try_from(spans.len()).unwrap_or_default());
        let out = spans.into_iter().fold(out, |out, span| {
            SpanSent {
                level: span.level,
                target: span.target,
                name: span.name,
                fields: span.fields,
            }
            .send(out)
        });
        self.object.tell(log::EVENT, out);
    }

    fn open_span(&self, level: u32, target: Str<'_>, name: Str<'_>, fields: Str<'_>) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let text = |text: Str<'_>| text.as_str().to_owned();
        let span = Span {
            level,
            target: text(target),
            name: text(name),
            fields: text(fields),
        };
        self.spans.insert(number, span);
        number
    }

    fn enter_span(&self, span: u64) {
        ENTERED.with_borrow_mut(|entered| entered.push(span));
    }

    fn exit_span(&self, span: u64) {
        ENTERED.with_borrow_mut(|entered| {
            if let Some(at) = entered.iter().rposition(|one| *one == span) {
                entered.remove(at);
            }
        });
    }

    fn close_span(&self, span: u64) {
        self.spans.remove(&span);
    }

    fn panicked(&self, message: Str<'_>, location: Str<'_>) {
        let out = self.object.arguments();
        let out = [message, location]
            .iter()
            .fold(out, |out, text| out.bytes(text.as_str().as_bytes()));
        self.object.tell(log::PANICKED, out);
    }
}

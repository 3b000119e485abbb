//! Forwards `tracing` events and spans of this image into the host's log: each image has its own dispatcher, which reaches
//! nobody by default.

use std::{
    fmt::Write as _,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
    subscriber::Interest,
};

use crate::abi::capability::log::Log;

static LOG: OnceLock<Log> = OnceLock::new();
static LEVEL: AtomicU32 = AtomicU32::new(0);

/// Installs the forwarder once per image; a second instance of the plugin finds it in place.
pub(crate) fn install(log: Log) {
    let level = log.level();
    if LOG.set(log).is_ok()
        && let Some(log) = LOG.get()
    {
        crate::runtime::forward_panics(log);
        // Fails when the author has set a dispatcher of their own, which is theirs to decide.
        let _ = tracing::subscriber::set_global_default(Forward(log));
    }
    set_level(level);
}

/// The host reads events up to this level from now on.
pub(crate) fn set_level(level: u32) {
    LEVEL.store(level, Ordering::Relaxed);
    tracing::callsite::rebuild_interest_cache();
}

struct Forward(&'static Log);

fn number(level: Level) -> u32 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

impl Subscriber for Forward {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        number(*metadata.level()) <= LEVEL.load(Ordering::Relaxed)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match LEVEL.load(Ordering::Relaxed) {
            0 => LevelFilter::OFF,
            1 => LevelFilter::ERROR,
            2 => LevelFilter::WARN,
            3 => LevelFilter::INFO,
            4 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        })
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let metadata = attributes.metadata();
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let level = number(*metadata.level());
        let id = self.0.open_span(
            level,
            metadata.target().into(),
            metadata.name().into(),
            fields.finish().into(),
        );
        // Ids start at 1 in tracing; the host answers 0 for a span that it does not record.
        span::Id::from_u64(id.saturating_add(1))
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = std::mem::take(&mut fields.message);
        let level = number(*metadata.level());
        self.0.event(
            level,
            metadata.target().into(),
            message.as_str().into(),
            fields.finish().into(),
        );
    }

    fn enter(&self, span: &span::Id) {
        self.0.enter_span(span.into_u64() - 1);
    }

    fn exit(&self, span: &span::Id) {
        self.0.exit_span(span.into_u64() - 1);
    }

    fn try_close(&self, span: span::Id) -> bool {
        self.0.close_span(span.into_u64() - 1);
        true
    }
}

/// Fields as the text of a JSON object.
#[derive(Default)]
struct Fields {
    json: String,
    message: String,
}

impl Fields {
    fn raw(&mut self, field: &Field, value: &str) {
        self.json.push(if self.json.is_empty() { '{' } else { ',' });
        let _ = write!(
            self.json,
            "{}:{value}",
            serde_json::Value::from(field.name())
        );
    }

    fn finish(&mut self) -> &str {
        if !self.json.is_empty() {
            self.json.push('}');
        }
        &self.json
    }
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.raw(field, &value.to_string());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.raw(field, &value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.raw(field, if value { "true" } else { "false" });
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.raw(field, &serde_json::Value::from(value).to_string());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.raw(field, &serde_json::Value::from(value).to_string());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

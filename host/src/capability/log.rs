//! `nself.log/1`: a plugin's events and spans in the host's log, inside the request's span.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use dashmap::DashMap;
use nself_plugin_api::abi::{
    bytes::Str,
    capability::log::{Log, LogProvider},
};
use tracing::{Level, Span, debug, enabled, error, info, trace, warn};

use super::Grant;

/// The log of one plugin instance.
pub struct PluginLog {
    grant: Grant,
    spans: DashMap<u64, Span>,
    next: AtomicU64,
    panicked: Box<dyn Fn() + Send + Sync>,
}

impl PluginLog {
    /// The capability; `panicked` is called for every panic of the plugin, wherever it was caught.
    pub fn capability(grant: Grant, panicked: impl Fn() + Send + Sync + 'static) -> Log {
        let panicked = Box::new(panicked);
        Log::new(Arc::new(Self {
            grant,
            spans: DashMap::new(),
            next: AtomicU64::new(1),
            panicked,
        }))
    }
}

/// The most verbose level of plugins that the host reads now, as it crosses: 0 off, 1 error .. 5 trace. What the filter
/// lets through of the host itself does not count: a plugin shall not write what nobody reads.
pub fn level() -> u32 {
    // A call site has one level, so there is one for each.
    if enabled!(target: "plugin", Level::TRACE) {
        5
    } else if enabled!(target: "plugin", Level::DEBUG) {
        4
    } else if enabled!(target: "plugin", Level::INFO) {
        3
    } else if enabled!(target: "plugin", Level::WARN) {
        2
    } else {
        enabled!(target: "plugin", Level::ERROR).into()
    }
}

impl LogProvider for PluginLog {
    fn level(&self) -> u32 {
        level()
    }

    fn event(&self, level: u32, target: Str<'_>, message: Str<'_>, fields: Str<'_>) {
        let (plugin, at, message, fields) = (
            &*self.grant.plugin,
            target.as_str(),
            message.as_str(),
            fields.as_str(),
        );
        // A call site has one level, so there is one for each.
        match level {
            1 => error!(target: "plugin", plugin, at, fields, "{message}"),
            2 => warn!(target: "plugin", plugin, at, fields, "{message}"),
            3 => info!(target: "plugin", plugin, at, fields, "{message}"),
            4 => debug!(target: "plugin", plugin, at, fields, "{message}"),
            _ => trace!(target: "plugin", plugin, at, fields, "{message}"),
        }
    }

    fn open_span(&self, level: u32, target: Str<'_>, name: Str<'_>, fields: Str<'_>) -> u64 {
        let (plugin, at, work, fields) = (
            &*self.grant.plugin,
            target.as_str(),
            name.as_str(),
            fields.as_str(),
        );
        let span = match level {
            1 => tracing::error_span!(target: "plugin", "work", plugin, at, work, fields),
            2 => tracing::warn_span!(target: "plugin", "work", plugin, at, work, fields),
            3 => tracing::info_span!(target: "plugin", "work", plugin, at, work, fields),
            4 => tracing::debug_span!(target: "plugin", "work", plugin, at, work, fields),
            _ => tracing::trace_span!(target: "plugin", "work", plugin, at, work, fields),
        };
        if span.is_disabled() {
            return 0;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.spans.insert(number, span);
        number
    }

    fn enter_span(&self, span: u64) {
        if let Some(span) = self.spans.get(&span) {
            span.with_subscriber(|(id, dispatch)| dispatch.enter(id));
        }
    }

    fn exit_span(&self, span: u64) {
        if let Some(span) = self.spans.get(&span) {
            span.with_subscriber(|(id, dispatch)| dispatch.exit(id));
        }
    }

    fn close_span(&self, span: u64) {
        self.spans.remove(&span);
    }

    fn panicked(&self, message: Str<'_>, location: Str<'_>) {
        let (plugin, location) = (&*self.grant.plugin, location.as_str());
        error!(target: "plugin", plugin, location, panic = message.as_str(), "plugin panicked");
        (self.panicked)();
    }
}

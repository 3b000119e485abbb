//! `nself.handlers/1`: plugins that keep queues and watch the clock find and call what other plugins declare.

use std::sync::Arc;

use nself_plugin_api::abi::{
    bytes::{Bytes, Str},
    capability::handlers::{self as abi, HandlersProvider},
    error::Error,
};

use crate::plugin::handlers::{Attempt, Handlers};

/// The capability; the same for whoever is granted it.
pub struct HandlersCapability(Arc<Handlers>);

impl HandlersCapability {
    /// Finds and calls through `handlers`.
    pub fn capability(handlers: Arc<Handlers>) -> abi::Handlers {
        abi::Handlers::new(Arc::new(Self(handlers)))
    }
}

impl HandlersProvider for HandlersCapability {
    fn list(&self) -> Bytes {
        self.0.list().into()
    }

    fn changed(&self, seen: u64) -> impl Future<Output = Result<u64, Error>> + Send + 'static {
        let changed = self.0.changed(seen);
        async move { Ok(changed.await) }
    }

    fn run_job(
        &self,
        kind: Str<'_>,
        id: i64,
        attempt: u32,
        attempts_max: u32,
        context: Bytes,
        payload: Bytes,
    ) -> impl Future<Output = Result<Bytes, Error>> + Send + 'static {
        let attempt = Attempt {
            id,
            attempt,
            attempts_max,
            context,
            payload,
        };
        let working = self.0.run_job(kind.as_str(), attempt);
        async move { working?.await }
    }

    fn run_schedule(
        &self,
        plugin: Str<'_>,
        name: Str<'_>,
        scheduled_at: Str<'_>,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let (plugin, name) = (plugin.as_str(), name.as_str());
        let running = self.0.run_schedule(plugin, name, scheduled_at.as_str());
        async move { running?.await }
    }
}

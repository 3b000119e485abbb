//! `nself.call/1`: one plugin calls a capability that another provides.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use nself_plugin_api::abi::{
    bytes::{Bytes, Str},
    capability::call::{Call, CallProvider},
    error::Error,
};

use super::{
    Grant,
    error::{denied, unavailable},
};

/// Whatever answers calls of provided capabilities: a running plugin.
pub trait Provider: Send + Sync + 'static {
    /// Answers; `None` when it takes no more calls because it drains.
    fn call(
        &self,
        capability: &str,
        method: &str,
        payload: Bytes,
    ) -> Option<BoxFuture<'static, Result<Bytes, Error>>>;
}

/// Who provides what now. Swapped whole, so that a call sees one state.
#[derive(Default)]
pub struct Providers(ArcSwap<HashMap<String, Weak<dyn Provider>>>);

impl Providers {
    /// Replaces the table.
    pub fn replace(&self, providers: HashMap<String, Weak<dyn Provider>>) {
        self.0.store(Arc::new(providers));
    }

    fn find(&self, capability: &str) -> Option<Arc<dyn Provider>> {
        self.0.load().get(capability)?.upgrade()
    }
}

/// The capability of one plugin instance.
pub struct Calls {
    grant: Grant,
    providers: Arc<Providers>,
}

impl Calls {
    /// Calls through `providers`, limited to what the manifest requires.
    pub fn capability(grant: Grant, providers: Arc<Providers>) -> Call {
        Call::new(Arc::new(Self { grant, providers }))
    }
}

impl CallProvider for Calls {
    fn call(
        &self,
        capability: Str<'_>,
        method: Str<'_>,
        payload: Bytes,
    ) -> impl Future<Output = Result<Bytes, Error>> + Send + 'static {
        let (wanted, method) = (capability.as_str(), method.as_str());
        let calling = if self
            .grant
            .requires
            .capabilities
            .iter()
            .any(|granted| granted == wanted)
        {
            self.providers
                .find(wanted)
                .and_then(|provider| provider.call(wanted, method, payload))
                .ok_or_else(|| {
                    let message = format!("the capability {wanted} is not available now");
                    unavailable(
                        "CAPABILITY_UNAVAILABLE",
                        message,
                        1_000,
                        "no running plugin provides it",
                    )
                })
        } else {
            Err(denied("CAPABILITY_NOT_GRANTED", &self.grant.plugin, wanted))
        };
        async move { calling?.await }
    }
}

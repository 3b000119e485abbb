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
    error::{Error, Outcome},
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

/// Who provides what now; nobody alive for what is to be provided by a plugin that is enabled and does not run. Swapped
/// whole, so that a call sees one state.
#[derive(Default)]
pub struct Providers(ArcSwap<HashMap<String, Weak<dyn Provider>>>);

impl Providers {
    /// Replaces the table.
    pub fn replace(&self, providers: HashMap<String, Weak<dyn Provider>>) {
        self.0.store(Arc::new(providers));
    }

    fn is_provided(&self, capability: &str) -> bool {
        self.0.load().contains_key(capability)
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
    /// Calls through `providers`, limited to what the manifest asks for.
    pub fn capability(grant: Grant, providers: Arc<Providers>) -> Call {
        Call::new(Arc::new(Self { grant, providers }))
    }

    fn granted(&self, wanted: &str) -> Result<(), Error> {
        let mut granted = self.grant.requires.usable();
        if granted.any(|one| one == wanted) {
            return Ok(());
        }
        Err(denied("CAPABILITY_NOT_GRANTED", &self.grant.plugin, wanted))
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
        let calling = self.granted(wanted).and_then(|()| {
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
        });
        async move { calling?.await }
    }

    fn is_provided(&self, capability: Str<'_>) -> Outcome<u32> {
        let wanted = capability.as_str();
        let is_provided = |()| u32::from(self.providers.is_provided(wanted));
        self.granted(wanted).map(is_provided).into()
    }
}

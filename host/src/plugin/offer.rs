//! What one plugin instance is offered: the capability for an id, if it has been granted.

use std::sync::Arc;

use deadpool_postgres::Pool;
use nself_plugin_api::abi::{
    bytes::Str,
    capability as abi,
    entry::{Capability, HostProvider, RawHandle},
};
use tracing::warn;

use super::{health::Health, services::Services};
use crate::{
    capability::{
        Grant,
        call::Calls,
        clock::ClockCapability,
        config::ConfigCapability,
        connect::ConnectCapability,
        crypto::Crypto,
        db::Database,
        dump::DumpCapability,
        handlers::HandlersCapability,
        http::HttpCapability,
        hub::HubCapability,
        identity::IdentityCapability,
        kv::Kv,
        listen::{ListenCapability, ListenOptions},
        log::PluginLog,
        metrics::MetricsCapability,
        policy::PolicyCapability,
        process::ProcessCapability,
        pubsub::PubSubCapability,
        task::Background,
        tokens::TokensCapability,
    },
    postgres::connect::Target,
};

/// Capabilities that every plugin has: they reach nothing outside of the plugin.
pub const AMBIENT: &[&str] = &[
    abi::log::Log::ID,
    abi::clock::Clock::ID,
    abi::config::Config::ID,
    abi::metrics::Metrics::ID,
    abi::policy::Policy::ID,
    abi::task::Tasks::ID,
];

/// What one instance is offered.
pub struct Offer {
    grant: Grant,
    services: Arc<Services>,
    database: Option<(Pool, Target)>,
    background: Arc<Background>,
    health: Arc<Health>,
}

impl Offer {
    /// What an instance is created with. `database` is its own login, when it asks for one.
    pub fn new(
        grant: Grant,
        services: Arc<Services>,
        database: Option<(Pool, Target)>,
        background: Arc<Background>,
        health: Arc<Health>,
    ) -> Arc<Self> {
        Arc::new(Self {
            grant,
            services,
            database,
            background,
            health,
        })
    }

    /// The capability with this id, if there is one and it has been granted.
    pub fn capability_of(&self, id: &str) -> Option<Capability> {
        self.is_granted(id).then(|| self.find(id)).flatten()
    }

    fn is_granted(&self, id: &str) -> bool {
        let mut granted = self.grant.requires.usable();
        // Calling others is granted capability by capability.
        let calls =
            |capability: &str| id == abi::call::Call::ID && !capability.starts_with("nself.");
        AMBIENT.contains(&id) || granted.any(|capability| capability == id || calls(capability))
    }

    fn find(&self, id: &str) -> Option<Capability> {
        let (grant, services) = (self.grant.clone(), &*self.services);
        Some(match id {
            abi::call::Call::ID => {
                Capability::call(Calls::capability(grant, Arc::clone(&services.providers)))
            }
            abi::clock::Clock::ID => {
                let clock = ClockCapability::new(Arc::clone(&services.clock));
                Capability::clock(abi::clock::Clock::new(Arc::new(clock)))
            }
            abi::config::Config::ID => {
                let config =
                    ConfigCapability::new(grant, &services.facts, Arc::clone(&services.secrets));
                Capability::config(abi::config::Config::new(Arc::new(config)))
            }
            abi::connect::Connect::ID => match ConnectCapability::new(&services.egress, &grant) {
                Ok(connect) => Capability::connect(connect.into_handle()),
                Err(error) => {
                    warn!(plugin = &*grant.plugin, %error, "the egress list of the manifest does not read");
                    return None;
                }
            },
            abi::crypto::Crypto::ID => {
                let crypto = Crypto::new(Arc::clone(&services.crypto), grant);
                Capability::crypto(abi::crypto::Crypto::new(Arc::new(crypto)))
            }
            abi::db::Db::ID => {
                let (pool, target) = self.database.clone()?;
                Capability::db(Database::capability(pool, target, &grant.requires))
            }
            abi::dump::Dump::ID => Capability::dump(DumpCapability::capability(
                &grant,
                Arc::clone(&services.dumps),
            )),
            abi::handlers::Handlers::ID => Capability::handlers(HandlersCapability::capability(
                Arc::clone(&services.handlers),
            )),
            abi::http::Http::ID => match HttpCapability::new(&services.egress, &grant) {
                Ok(http) => Capability::http(abi::http::Http::new(Arc::new(http))),
                Err(error) => {
                    warn!(plugin = &*grant.plugin, %error, "the egress list of the manifest does not read");
                    return None;
                }
            },
            abi::hub::Hub::ID => {
                Capability::hub(HubCapability::capability(&grant, Arc::clone(&services.hub)))
            }
            abi::identity::Identity::ID => Capability::identity(IdentityCapability::capability(
                grant,
                Arc::clone(&services.verifier),
            )),
            abi::kv::Kv::ID => Capability::kv(abi::kv::Kv::new(Arc::new(Kv::new(
                Arc::clone(&services.kv),
                grant,
            )))),
            abi::listen::Listen::ID => {
                let mut options =
                    ListenOptions::new(services.bind, format!("plugins.{}.listen", grant.plugin));
                options.ports = services
                    .port_overrides
                    .get(&*grant.plugin)
                    .cloned()
                    .unwrap_or_default();
                Capability::listen(
                    ListenCapability::new(grant, Arc::clone(&services.ports), options)
                        .into_handle(),
                )
            }
            abi::log::Log::ID => {
                let health = Arc::clone(&self.health);
                Capability::log(PluginLog::capability(grant, move || health.panicked()))
            }
            abi::metrics::Metrics::ID => {
                let metrics = MetricsCapability::new(Arc::clone(&services.metrics), &grant);
                Capability::metrics(abi::metrics::Metrics::new(Arc::new(metrics)))
            }
            abi::policy::Policy::ID => Capability::policy(PolicyCapability::capability()),
            abi::process::Process::ID => {
                let allowed = services.run_allowed.get(&*grant.plugin).cloned();
                let programs = Arc::clone(&services.programs);
                Capability::process(ProcessCapability::capability(
                    &grant,
                    allowed.unwrap_or_default(),
                    programs,
                ))
            }
            abi::pubsub::PubSub::ID => Capability::pubsub(PubSubCapability::capability(
                &grant,
                services.messages.clone(),
            )),
            abi::task::Tasks::ID => Capability::task(self.background.capability()),
            abi::tokens::Tokens::ID => {
                Capability::tokens(TokensCapability::capability(Arc::clone(&services.verifier)))
            }
            _ => return None,
        })
    }
}

impl HostProvider for Offer {
    fn capability(&self, id: Str<'_>) -> RawHandle {
        let found = self.capability_of(id.as_str());
        found.map(Capability::into_raw).unwrap_or_default()
    }
}

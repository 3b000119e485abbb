//! What the host has for its plugins, made once, shared by all of them.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use deadpool_postgres::Pool;
use prometheus::{IntCounterVec, IntGaugeVec};

use super::handlers::Handlers;
use crate::{
    capability::{
        call::Providers,
        clock::HostClock,
        config::{Facts, SecretSource},
        crypto::CryptoService,
        dump::Dumps,
        http::Egress,
        kv::Store,
        listen::Ports,
        metrics::MetricsHub,
        process::{Allowed, Programs},
        pubsub::Messages,
        task::lease::Leases,
    },
    events::EventLog,
    hub::Hub,
    identity::Verifier,
    postgres::connect::Target,
    telemetry::trace::Tracer,
};

/// The services behind the capabilities.
pub struct Services {
    /// Facts that plugins are told.
    pub facts: Facts,
    /// Address that listeners of plugins bind.
    pub bind: IpAddr,
    /// The database, as the host logs in.
    pub target: Target,
    /// The host's own pool.
    pub pool: Pool,
    /// Connections of each plugin's pool.
    pub plugin_pool_max: usize,
    /// Requests that one plugin works on at a time; streams and sockets have as many places again.
    pub requests_max: usize,
    /// Leases of singleton tasks.
    pub leases: Arc<Leases>,
    /// Who provides which capability now.
    pub providers: Arc<Providers>,
    /// What plugins declare to be called for.
    pub handlers: Arc<Handlers>,
    /// Verifies tokens.
    pub verifier: Arc<Verifier>,
    /// Metrics of plugins.
    pub metrics: Arc<MetricsHub>,
    /// Panics by plugin.
    pub panics: IntCounterVec,
    /// Polls that held a thread for too long, by plugin.
    pub blocked: IntCounterVec,
    /// New processes of plugins that have one, by plugin.
    pub restarts: IntCounterVec,
    /// Crashes of the host in a row, by the plugin that they came from.
    pub crashes: IntGaugeVec,
    /// One for each plugin that is left out because of them.
    pub quarantined: IntGaugeVec,
    /// Values of secrets.
    pub secrets: SecretSource,
    /// Makes the password of a plugin's database login; the same on every host that has the same master key.
    pub login_password: Arc<dyn Fn(&str) -> String + Send + Sync>,
    /// Small values.
    pub kv: Arc<Store>,
    /// Messages between hosts, where something carries them.
    pub messages: Option<Arc<Messages>>,
    /// Keys and hashing.
    pub crypto: Arc<CryptoService>,
    /// Archives of the database.
    pub dumps: Arc<Dumps>,
    /// Outgoing HTTP.
    pub egress: Egress,
    /// What the operator lets plugins reach besides what their manifests ask for, by plugin.
    pub egress_beyond: BTreeMap<String, Vec<String>>,
    /// The same for capabilities of other plugins.
    pub calls_beyond: BTreeMap<String, Vec<String>>,
    /// Programs that are run.
    pub programs: Arc<Programs>,
    /// What the operator lets plugins run, by plugin.
    pub run_allowed: BTreeMap<String, Allowed>,
    /// Open sockets.
    pub hub: Arc<Hub>,
    /// Ports that plugins listen on.
    pub ports: Arc<Ports>,
    /// Where the operator has put them, by plugin: manifest's port to bound port.
    pub port_overrides: BTreeMap<String, BTreeMap<u16, u16>>,
    /// Time.
    pub clock: Arc<dyn HostClock>,
    /// The event log.
    pub events: Arc<EventLog>,
    /// Gets spans, where traces are exported.
    pub tracer: Option<Tracer>,
}

//! The plugin's context: every capability that it has been granted, and in handlers the plugin itself.

use std::{ops::Deref, sync::Arc};

use crate::{
    abi::{self, entry::Host},
    capability::{
        audit::Audit, call::Calls, clock::Clock, config::About, connect::Connect, crypto::Crypto,
        db::Db, dump::Dump, events::Events, handlers::Handlers, http::Http, hub::Hub,
        identity::Identity, kv::Kv, listen::Listen, metrics::Metrics, policy::Policy,
        process::Processes, pubsub::PubSub, secrets::Secrets, tasks::Tasks, tokens::Tokens,
    },
};

/// The capabilities of one instance of a plugin. Cheap to clone.
///
/// A capability that the manifest does not require, or the operator has not granted, answers every call with
/// `CAPABILITY_NOT_GRANTED`.
#[derive(Clone)]
pub struct Context(pub(crate) Arc<Handles>);

pub(crate) struct Handles {
    pub(crate) call: Option<abi::capability::call::Call>,
    pub(crate) clock: Option<abi::capability::clock::Clock>,
    pub(crate) config: Option<abi::capability::config::Config>,
    pub(crate) connect: Option<abi::capability::connect::Connect>,
    pub(crate) crypto: Option<abi::capability::crypto::Crypto>,
    pub(crate) db: Option<abi::capability::db::Db>,
    pub(crate) dump: Option<abi::capability::dump::Dump>,
    pub(crate) handlers: Option<abi::capability::handlers::Handlers>,
    pub(crate) http: Option<abi::capability::http::Http>,
    pub(crate) hub: Option<abi::capability::hub::Hub>,
    pub(crate) identity: Option<abi::capability::identity::Identity>,
    pub(crate) kv: Option<abi::capability::kv::Kv>,
    pub(crate) listen: Option<abi::capability::listen::Listen>,
    pub(crate) metrics: Option<abi::capability::metrics::Metrics>,
    pub(crate) policy: Option<abi::capability::policy::Policy>,
    pub(crate) process: Option<abi::capability::process::Process>,
    pub(crate) pubsub: Option<abi::capability::pubsub::PubSub>,
    pub(crate) task: Option<abi::capability::task::Tasks>,
    pub(crate) tokens: Option<abi::capability::tokens::Tokens>,
}

macro_rules! capabilities {
    ($($(#[$meta:meta])* $name:ident: $Type:ident),*) => {
        impl Context {
            $( $(#[$meta])* pub fn $name(&self) -> $Type<'_> { $Type(&self.0) } )*
        }
    };
}

capabilities! {
    /// Postgres, as the plugin's own role.
    db: Db,
    /// Small values with a time to live, counters, rate limits.
    kv: Kv,
    /// Outgoing HTTP.
    http: Http,
    /// Fan-out to the plugin's WebSockets.
    hub: Hub,
    /// Events in the log of the host.
    events: Events,
    /// Entries in the audit log.
    audit: Audit,
    /// Background work, blocking work, leases.
    tasks: Tasks,
    /// Keys, encryption, password hashing, randomness.
    crypto: Crypto,
    /// Byte streams to servers.
    connect: Connect,
    /// TCP listeners.
    listen: Listen,
    /// Metrics on `/metrics`.
    metrics: Metrics,
    /// Who may do what in a family.
    policy: Policy,
    /// Programs, as far as the operator lets the plugin run any.
    process: Processes,
    /// Messages between hosts, for whoever is there at the moment.
    pubsub: PubSub,
    /// Secret values.
    secrets: Secrets,
    /// Time.
    clock: Clock,
    /// Capabilities of other plugins.
    calls: Calls,
    /// Archives of the project's database.
    dump: Dump,
    /// Jobs and schedules of all plugins, for those that keep queues and watch the clock.
    handlers: Handlers,
    /// Token verification, for the plugin that is the identity provider.
    identity: Identity,
    /// Access tokens that do not come with a request.
    tokens: Tokens,
    /// What the host says about itself and this plugin.
    about: About
}

impl Context {
    pub(crate) fn new(host: &Host) -> Self {
        Self(Arc::new(Handles {
            call: host.call(),
            clock: host.clock(),
            config: host.config(),
            connect: host.connect(),
            crypto: host.crypto(),
            db: host.db(),
            dump: host.dump(),
            handlers: host.handlers(),
            http: host.http(),
            hub: host.hub(),
            identity: host.identity(),
            kv: host.kv(),
            listen: host.listen(),
            metrics: host.metrics(),
            policy: host.policy(),
            process: host.process(),
            pubsub: host.pubsub(),
            task: host.task(),
            tokens: host.tokens(),
        }))
    }
}

/// What a handler works with: the context and the plugin's own state. Cheap to clone.
pub struct Cx<P> {
    context: Context,
    plugin: Arc<P>,
}

impl<P> Clone for Cx<P> {
    fn clone(&self) -> Self {
        Self {
            context: self.context.clone(),
            plugin: Arc::clone(&self.plugin),
        }
    }
}

impl<P> Cx<P> {
    pub(crate) fn new(context: Context, plugin: Arc<P>) -> Self {
        Self { context, plugin }
    }

    /// The plugin's own state: what `create` made.
    pub fn plugin(&self) -> &P {
        &self.plugin
    }
}

impl<P> Deref for Cx<P> {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

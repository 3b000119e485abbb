//! What plugins receive from the host: one file per capability.
//!
//! Each file implements one provider trait of the boundary for one plugin instance; [`Grant`] decides which of them the
//! instance may reach. All I/O of a plugin passes through here.

pub mod call;
pub mod caller;
pub mod clock;
pub mod config;
pub mod connect;
pub mod crypto;
pub mod db;
pub mod dump;
pub mod error;
pub mod handlers;
pub mod http;
pub mod hub;
pub mod identity;
pub mod kv;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod policy;
pub mod process;
pub mod pubsub;
pub mod task;
pub mod tokens;

use std::sync::Arc;

use self::http::destination::Destination;
use crate::plugin::manifest::Requires;

/// Whose capability it is, and what the operator has accepted for it.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The plugin's id.
    pub plugin: Arc<str>,
    /// The plugin's version.
    pub version: Arc<str>,
    /// What it may reach.
    pub requires: Arc<Requires>,
    /// Servers that its configuration names, and its manifest asks for: [`Destination::configured`].
    pub destinations: Arc<[Destination]>,
}

//! Postgres: the embedded cluster, connections and pools, one login role per plugin.
//!
//! Two ways lead to a database, and the rest of the host does not see which one was taken: [`cluster::Cluster`] keeps a
//! private server running from real Postgres programs, [`connect::Target::from_url`] points at somebody else's.

pub mod account;
pub(crate) mod archive;
pub mod binaries;
mod bundle;
pub mod cluster;
pub mod connect;
pub mod initdb;
mod log;
mod pidfile;
pub mod place;
pub mod roles;
pub mod scratch;
pub mod server;
pub mod settings;
mod supervise;
pub mod tls;

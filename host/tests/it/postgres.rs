//! The embedded cluster, connections and roles, against real servers.

mod cluster;
mod connect;
mod roles;
mod scratch;

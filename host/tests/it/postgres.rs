//! The embedded cluster, connections and roles, against real servers.

mod scratch;

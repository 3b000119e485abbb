//! The life of a host and its plugins, with the real binary: swaps under load, files exchanged, stops, kills, restarts.

pub(crate) mod caller;
pub(crate) mod load;
pub(crate) mod plugin_file;
pub(crate) mod project;
mod terminal;

mod acme;
mod audited;
mod canary;
mod commands;
mod database;
mod dev;
mod drain;
mod exclusive;
mod handed;
mod logging;
mod offered;
mod optional;
mod proxy_protocol;
mod redirect;
mod removal;
mod silence;
mod starting;
mod stopping;
mod swap;
mod tls;
mod top;

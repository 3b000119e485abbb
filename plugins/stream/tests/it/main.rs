//! The stream plugin, tried on a real host with a real database, by raw frames and by the client that everybody uses.

mod api;
mod channels;
mod clients;
mod commands;
mod expiry;
mod hosts;
mod log;
mod media;
mod recovery;
mod revocation;
mod stage;

nself_plugin_testkit::conformance!();

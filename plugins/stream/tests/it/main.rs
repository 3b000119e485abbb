//! The stream plugin, tried on a real host with a real database, by raw frames and by the client that everybody uses.

mod abuse;
mod api;
mod browser;
mod bursts;
mod by_server;
mod carried;
mod changes;
mod channels;
mod clients;
mod commands;
mod events;
mod expiry;
mod ghosts;
mod graphql;
mod hosts;
mod idle;
mod listeners;
mod log;
mod media;
mod outages;
mod purged;
mod questions;
mod recovery;
mod restored;
mod revocation;
mod sleepers;
mod stage;
mod storm;
mod wakeups;
mod warm;

nself_plugin_testkit::conformance!(|plugin| plugin.belongings(crate::media::belongings::of));

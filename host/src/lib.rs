//! The host: one process that owns the sockets, the database pools, the clock, the logs and the lifecycle,
//! and loads everything that the backend *does* as plugins.

pub mod acme;
pub mod audit;
pub mod backup;
pub mod capability;
pub mod catalogue;
pub mod cli;
pub mod config;
pub mod control;
mod der;
pub mod events;
mod exhaustion;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod hasura;
pub mod http;
pub mod hub;
pub mod identity;
pub mod loader;
pub mod migrate;
pub mod minisign;
pub mod package;
pub mod plugin;
pub mod policy;
pub mod postgres;
pub mod run;
pub mod telemetry;
mod whole_file;

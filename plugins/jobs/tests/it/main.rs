//! The jobs plugin, tried on a real host with a real database.

mod backup;
mod batches;
mod builtin;
mod clients;
mod doors;
mod ending;
mod enqueueing;
mod families;
mod faults;
mod hasura;
mod limits;
mod pull;
mod push;
mod retention;
mod stage;
mod steering;
mod telling;
mod watching;

nself_plugin_testkit::conformance!(|plugin| plugin);

//! Workflows and commands for devices, tried on a real host with a real database.

mod asking;
mod delivery;
mod events;
mod faults;
mod running;
mod stage;
mod steering;

nself_plugin_testkit::conformance!(|plugin| plugin.with("nself-plugin-jobs"));

//! Commands for devices, tried on a real host with a real database.

mod asking;
mod delivery;
mod stage;

nself_plugin_testkit::conformance!(|plugin| plugin);

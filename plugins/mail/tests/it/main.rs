//! The mail plugin, tried on a real host with a real database.

mod catcher;
mod delivery;
mod hostile;
mod logs;
mod operator;
mod password;
mod posting;
mod script;
mod sending;
mod smtp_server;
mod stage;
mod tls;

nself_plugin_testkit::conformance!(|plugin| plugin.config(super::stage::ANY_PORT));

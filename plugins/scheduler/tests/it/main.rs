//! The time engine, held to published vectors, to a second opinion and to a naive oracle; and the plugin, tried on real hosts with
//! a real database.

mod after_downtime;
mod against_croner;
mod against_dateutil;
mod calling;
mod defined;
mod every_zone;
mod families;
mod faults;
mod firing;
mod hostile;
mod managing;
mod refusals;
mod rfc5545;
mod stage;
mod support;
mod texts;
mod upkeep;
mod vectors;
mod zones;

nself_plugin_testkit::conformance!(|plugin| plugin.with("nself-plugin-jobs"));

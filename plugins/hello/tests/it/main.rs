//! Notes, tried on a real host with a real database.

mod notes;
mod upkeep;

nself_plugin_testkit::conformance!();

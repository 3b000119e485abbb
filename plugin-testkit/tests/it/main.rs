//! What the testkit promises to tests of plugins, and what the host promises to plugins: tried on the plugin `fixture`,
//! which has a route for each thing that a plugin can do.

mod audit;
mod autobahn;
mod bodies;
mod callers;
mod database;
mod deflate;
mod events;
mod handlers;
mod hub;
mod isolated;
mod kept;
mod keys;
mod messages;
mod outside;
mod provided;
mod replicas;
mod silence;
mod telemetry;
mod tokens;
mod work;

use nself_plugin_testkit::{TestHost, TestHostBuilder, conformance::Conformance};

/// The key that the fixture asks for.
const KEY: &str = "correct horse battery staple";

nself_plugin_testkit::conformance!(
    "nself-plugin-fixture",
    concat!(env!("CARGO_MANIFEST_DIR"), "/fixture"),
    |plugin| super::promises(plugin)
);

/// Left out: routes that fail on purpose, that wait, or whose sample address is none.
fn promises(plugin: Conformance) -> Conformance {
    plugin
        .secret("fixture-key", KEY)
        .except("GET /fixture/messages/{channel}")
        .except("POST /fixture/messages/{channel}")
        .except("POST /fixture/held-messages/{channel}")
        .except("GET /fixture/panic")
        .except("GET /fixture/blocking-panic")
        .except("GET /fixture/fetch")
        .except("GET /fixture/connect")
        .except("GET /fixture/sleep")
        .except("POST /fixture/listener/{port}")
        .not_held_apart("what subscriptions heard, of all families", &["heard"])
}

fn fixture() -> TestHostBuilder {
    TestHost::builder()
        .plugin("nself-plugin-fixture")
        .secret("fixture-key", KEY)
}

async fn started() -> TestHost {
    fixture().start().await
}

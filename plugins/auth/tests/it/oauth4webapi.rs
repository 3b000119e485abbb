//! A client that others wrote: npm's `oauth4webapi`.

use nself_plugin_testkit::node_scripts;
use serde_json::Value;

use crate::stage::Stage;

/// Takes a step of the script against the host.
pub(crate) async fn step(stage: &Stage, words: &[&str]) -> Value {
    let scripts = node_scripts!("tests/clients").await;
    let mut command = scripts.script("oauth4webapi.mjs");
    command.arg(format!("http://{}", stage.host.address()));
    let told = scripts.run(command.args(words)).await;
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{words:?}: {error}: {told}"))
}

//! A library that was built, given to the host.

use serde_json::{Value, json};

use super::super::{
    super::{CliError, Context, client},
    check, enable, offline,
};
use crate::{loader::CheckedPlugin, plugin::registry::Incoming};

/// For requests and tasks in flight on the version before, milliseconds: the author waits.
const DRAIN_MS: u64 = 2_000;

/// Lets it run in the place of what ran, or for the first time; what the host says of it, with what was granted now. Nothing when it runs
/// already.
///
/// # Errors
///
/// What the host has against it; what ran before runs on. `HOST_NOT_RUNNING` when there is none.
pub(super) fn offer(context: &Context, checked: &CheckedPlugin) -> Result<Option<Value>, CliError> {
    match exchange(context, checked) {
        Err(error) if error.code == "PLUGIN_NOT_RUNNING" => {
            place(context, checked)?;
            let started = enable::enable(context, &checked.manifest.id)?;
            // One that was disabled has started with the content that was accepted then.
            Ok(exchange(context, checked)?.or(Some(started)))
        }
        done => done,
    }
}

/// As `nself plugin upgrade FILE`, with `nself plugin grant` before it where that takes one.
fn exchange(context: &Context, checked: &CheckedPlugin) -> Result<Option<Value>, CliError> {
    let file = &checked.path;
    let upgrade = || {
        let request = json!({"file": file, "drain_ms": DRAIN_MS, "new_signer": false});
        client::request(context, "plugin.upgrade_file", request)
    };
    let mut granted = Value::Null;
    let mut done = match upgrade() {
        Err(error) if error.code == "PLUGIN_NOT_GRANTED" => {
            let (lock, _) = offline::open(context)?;
            let manifest = &checked.manifest;
            let missing = lock.missing(manifest).join(", ");
            context.confirm(&format!(
                "{} asks for more than was granted: {missing}. Grant it?",
                manifest.id
            ))?;
            let done = client::request(context, "plugin.grant_file", json!({"file": file}))?;
            granted = done["granted"].clone();
            upgrade()?
        }
        done => done?,
    };
    // What it had already needs no saying each time.
    done["granted"] = granted;
    Ok((done["replaced"] == json!(true)).then_some(done))
}

/// Gives it its place in the plugin directory, where none of its name has one.
fn place(context: &Context, checked: &CheckedPlugin) -> Result<(), CliError> {
    let (config, _) = context.config()?;
    let id = &checked.manifest.id;
    let (there, _) = check::checked(context)?;
    if there.iter().any(|plugin| plugin.manifest.id == *id) {
        return Ok(());
    }
    let target = config.plugins_directory().join(format!("{id}.so"));
    Ok(Incoming::new(target, checked)?.place()?)
}

/// Whether a host answers by now.
pub(super) fn is_host_there(context: &Context) -> bool {
    let answer = client::request(context, "plugin.list", Value::Null);
    !answer.is_err_and(|error| error.code == "HOST_NOT_RUNNING")
}

//! `nself plugin release`: lifts a quarantine, whether a host runs or not.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use super::{
    super::{CliError, Context, client},
    names,
};
use crate::{
    control::HostLock,
    plugin::{crashes::Crashes, registry::ChangeError},
};

/// `nself plugin release`
#[derive(Debug, Clone, Args)]
pub struct Release {
    /// The plugin's id
    pub id: String,
}

pub(super) fn run(context: &Context, args: &Release) -> Result<(), CliError> {
    let done = match client::request(context, "plugin.release", json!({"id": args.id})) {
        Err(error) if error.code == "HOST_NOT_RUNNING" => offline(context, &args.id),
        other => other,
    }?;
    context.output.answer(&done, || text(&done))
}

/// The next host tells the audit log.
fn offline(context: &Context, id: &str) -> Result<Value, CliError> {
    let (config, _) = context.config()?;
    let state = config.state_directory();
    let refused = || ChangeError::NotQuarantined(id.to_owned());
    // Where no host has run nothing has crashed, and there is nothing to lock.
    if !state.is_dir() {
        return Err(refused().into());
    }
    // No host starts meanwhile: it would not know of this.
    let _lock = HostLock::take(&state)?;
    let mut crashes = Crashes::read(&state);
    let version = crashes.release(id).ok_or_else(refused)?;
    crashes.write().map_err(ChangeError::Crashes)?;
    Ok(json!({"id": id, "version": version, "offline": true, "started": [], "failed": {}}))
}

fn text(done: &Value) -> String {
    let word = |key: &str| done[key].as_str().unwrap_or_default();
    let mut text = format!("released {} {}", word("id"), word("version"));
    if done["offline"] == json!(true) {
        text.push_str("; it starts with the next `nself up`\n");
        return text;
    }
    text.push_str("; started: ");
    text.push_str(&names(&done["started"]));
    text.push('\n');
    for (id, reason) in done["failed"].as_object().into_iter().flatten() {
        let reason = reason.as_str().unwrap_or_default();
        // Writing to a String does not fail.
        let _ = writeln!(text, "{id} does not run: {reason}");
    }
    text
}

/// Why a plugin is left out, as far as files tell.
pub(in crate::cli) fn left_out(context: &Context) -> Result<Vec<(String, String)>, CliError> {
    let (lock, _) = super::offline::open(context)?;
    let (config, _) = context.config()?;
    Ok(Crashes::look(&config.state_directory()).left_out(&lock))
}

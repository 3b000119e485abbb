//! `nself plugin enable`: one plugin, or several in the order in which they need one another.

use std::collections::VecDeque;

use clap::Args;
use serde_json::{Value, json};

use super::{
    super::{CliError, Context, client},
    names, offline,
};

/// `nself plugin enable`
#[derive(Debug, Clone, Args)]
pub struct Enable {
    /// The plugins' ids, in any order
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<String>,
}

pub(super) fn run(context: &Context, args: &Enable) -> Result<(), CliError> {
    let mut waiting: VecDeque<&String> = args.ids.iter().collect();
    let mut enabled = Vec::new();
    // How many have been put off since the last one that was enabled: when that is all of them, they do not need each other.
    let mut put_off = 0;
    while let Some(id) = waiting.pop_front() {
        match enable(context, id) {
            Ok(done) => {
                enabled.push(done);
                put_off = 0;
            }
            Err(refusal) if refusal.code == "PLUGIN_DOES_NOT_FIT" && put_off < waiting.len() => {
                waiting.push_back(id);
                put_off += 1;
            }
            Err(mut refusal) => {
                let before: Vec<&str> = enabled
                    .iter()
                    .filter_map(|done: &Value| done["id"].as_str())
                    .collect();
                if !before.is_empty() {
                    refusal
                        .causes
                        .push(format!("enabled before it: {}", before.join(", ")));
                }
                return Err(refusal);
            }
        }
    }
    let enabled = Value::Array(enabled);
    context.output.answer(&enabled, || {
        enabled.as_array().into_iter().flatten().map(text).collect()
    })
}

/// Enables one plugin, whether a host runs or not.
pub(super) fn enable(context: &Context, id: &str) -> Result<Value, CliError> {
    match client::request(context, "plugin.enable", json!({"id": id})) {
        Err(error) if error.code == "HOST_NOT_RUNNING" => offline::enable(context, id),
        other => other,
    }
}

/// What was enabled, for people.
pub(super) fn text(done: &Value) -> String {
    let (id, version) = (
        done["id"].as_str().unwrap_or_default(),
        done["version"].as_str().unwrap_or_default(),
    );
    let when = if done["offline"] == json!(true) {
        "starts with the next `nself up`"
    } else {
        "runs"
    };
    format!(
        "{id} {version} {when}; granted: {}\n",
        names(&done["granted"])
    )
}

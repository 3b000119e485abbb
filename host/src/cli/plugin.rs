//! `nself plugin`: see and change plugins, through the running host where there is one.

mod accepted;
mod check;
mod new;
mod offline;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{CliError, Context, Table, client};

pub(super) use accepted::{Accepted, AcceptedPlugin, accepted};

/// See, make and change plugins.
#[derive(Debug, Clone, Args)]
pub struct PluginArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: PluginCommand,
}

/// What can be done with plugins.
#[derive(Debug, Clone, Subcommand)]
pub enum PluginCommand {
    /// List plugins: state, version, and why one does not run
    List,
    /// Show a plugin's manifest: routes, tasks, what it requires and provides; runs none of its code
    Inspect(Subject),
    /// Check plugin files as the host would before loading them; runs none of their code
    Check(Check),
    /// Write a plugin crate to begin with: a table, routes, a task, tests
    New(new::New),
    /// Start a plugin, now and at every start, and grant what it asks for
    Enable(Named),
    /// Stop a plugin, now and at every start
    Disable(Disable),
    /// Load the newer file in the plugin directory beside the running one, swap, and drain the old
    Upgrade(Replace),
    /// Go back to the version before the last upgrade
    Rollback(Replace),
    /// Grant what the file in the plugin directory asks for and has not got yet
    Grant(Named),
    /// Take a disabled plugin off the list and out of the plugin directory; its tables stay
    Remove(Named),
}

/// A plugin by its id.
#[derive(Debug, Clone, Args)]
pub struct Named {
    /// The plugin's id
    pub id: String,
}

/// A plugin by its id or file.
#[derive(Debug, Clone, Args)]
pub struct Subject {
    /// The plugin's id, or a file
    #[arg(value_name = "ID|FILE")]
    pub subject: String,
}

/// `nself plugin check`
#[derive(Debug, Clone, Args)]
pub struct Check {
    /// Plugin files [default: everything in the plugin directory]
    pub files: Vec<PathBuf>,
}

/// `nself plugin disable`
#[derive(Debug, Clone, Args)]
pub struct Disable {
    /// The plugin's id
    pub id: String,
    /// Time for requests and tasks in flight, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub drain: u64,
    /// Disable what depends on it, too
    #[arg(long)]
    pub cascade: bool,
}

/// `nself plugin upgrade`, `rollback`
#[derive(Debug, Clone, Args)]
pub struct Replace {
    /// The plugin's id
    pub id: String,
    /// Time for requests and tasks in flight on the old version, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub drain: u64,
}

fn ms(seconds: u64) -> u128 {
    Duration::from_secs(seconds).as_millis()
}

pub(super) fn run(context: &Context, args: &PluginArgs) -> Result<(), CliError> {
    match &args.command {
        PluginCommand::List => list(context),
        PluginCommand::Inspect(args) => check::inspect(context, &args.subject),
        PluginCommand::Check(args) => check::run(context, &args.files),
        PluginCommand::New(args) => new::run(context, args),
        PluginCommand::Enable(args) => {
            let done = match client::request(context, "plugin.enable", json!({"id": args.id})) {
                Err(error) if error.code == "HOST_NOT_RUNNING" => {
                    offline::enable(context, &args.id)
                }
                other => other,
            }?;
            context.output.answer(&done, || enabled(&done))
        }
        PluginCommand::Disable(args) => {
            let request =
                json!({"id": args.id, "drain_ms": ms(args.drain), "cascade": args.cascade});
            let done = match client::request(context, "plugin.disable", request) {
                Err(error) if error.code == "HOST_NOT_RUNNING" => {
                    offline::disable(context, &args.id)
                }
                other => other,
            }?;
            context
                .output
                .answer(&done, || format!("disabled {}\n", args.id))
        }
        PluginCommand::Upgrade(args) => replace(context, "plugin.upgrade", args),
        PluginCommand::Rollback(args) => replace(context, "plugin.rollback", args),
        PluginCommand::Grant(args) => {
            let done = client::request(context, "plugin.grant", json!({"id": args.id}))?;
            context.output.answer(&done, || granted(&args.id, &done))
        }
        PluginCommand::Remove(args) => {
            context.confirm(&format!("Remove the plugin {} and its file?", args.id))?;
            let done = client::request(context, "plugin.remove", json!({"id": args.id}))?;
            context
                .output
                .answer(&done, || format!("removed {}; its tables stay\n", args.id))
        }
    }
}

fn list(context: &Context) -> Result<(), CliError> {
    let plugins = match client::request(context, "plugin.list", Value::Null) {
        Err(error) if error.code == "HOST_NOT_RUNNING" => offline::list(context),
        other => other,
    }?;
    context.output.answer(&plugins, || {
        let mut table = Table::new(&["PLUGIN", "STATE", "VERSION", "NOTE"]);
        for plugin in plugins.as_array().into_iter().flatten() {
            table.row(list_row(plugin));
        }
        if table.is_empty() {
            "no plugins: copy a .so file into the plugin directory\n".to_owned()
        } else {
            context.output.table(&table)
        }
    })
}

/// Whether there is such a plugin here, as far as files tell.
pub(super) fn is_known(context: &Context, id: &str) -> bool {
    let plugins = offline::list(context).unwrap_or_default();
    let mut plugins = plugins.as_array().into_iter().flatten();
    plugins.any(|plugin| plugin["id"] == json!(id))
}

/// One plugin in a table.
pub(super) fn list_row(plugin: &Value) -> [String; 4] {
    let text = |key: &str| plugin[key].as_str().unwrap_or_default().to_owned();
    let state = if plugin["degraded"] == json!(true) {
        "degraded".to_owned()
    } else {
        text("state")
    };
    let note = match (plugin["reason"].as_str(), plugin["available"].as_str()) {
        (Some(reason), _) => reason.to_owned(),
        (None, Some(newer)) => format!(
            "{newer} is in the plugin directory: nself plugin upgrade {}",
            text("id")
        ),
        (None, None) if state == "discovered" => format!(
            "{}: nself plugin enable {}",
            text("description"),
            text("id")
        ),
        (None, None) => text("description"),
    };
    [text("id"), state, text("version"), note]
}

fn names(list: &Value) -> String {
    let names: Vec<&str> = list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}

fn enabled(done: &Value) -> String {
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

fn granted(id: &str, done: &Value) -> String {
    format!(
        "granted to {id}: {}; now: nself plugin upgrade {id}\n",
        names(&done["granted"])
    )
}

fn replace(context: &Context, command: &str, args: &Replace) -> Result<(), CliError> {
    let done = client::request(
        context,
        command,
        json!({"id": args.id, "drain_ms": ms(args.drain)}),
    )?;
    context.output.answer(&done, || {
        let version = |key: &str| done[key].as_str().unwrap_or("nothing").to_owned();
        if done["version"] == done["before"] {
            return format!("{} {} runs already\n", args.id, version("version"));
        }
        format!(
            "{}: {} -> {}\n",
            args.id,
            version("before"),
            version("version")
        )
    })
}

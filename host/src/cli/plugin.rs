//! `nself plugin`: see and change plugins, through the running host where there is one.

mod accepted;
mod catalogue;
mod check;
mod dev;
mod enable;
mod install;
mod new;
mod offline;
mod pack;
mod password;
mod release;
mod signing;
mod trust;
mod upgrade;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{CliError, Context, Table, client};

pub(super) use accepted::{Accepted, AcceptedPlugin, accepted};
pub(super) use release::left_out;

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
    /// Build a plugin whenever something of it changes, exchange it in the running host, and show its log
    Dev(dev::Dev),
    /// Start plugins, now and at every start, and grant what they ask for
    Enable(enable::Enable),
    /// Stop a plugin, now and at every start
    Disable(Disable),
    /// Load a newer file beside the running one, swap, and drain the old: the one in the plugin directory, any other, or one of
    /// the catalogue, which is then copied there
    Upgrade(upgrade::Upgrade),
    /// Go back to the version before the last upgrade
    Rollback(Replace),
    /// Grant what the file in the plugin directory, or any other, asks for and has not got yet
    Grant(Subject),
    /// Let a plugin run again that is quarantined because it crashed the host
    Release(release::Release),
    /// Take a disabled plugin off the list and out of the plugin directory; its tables stay, unless --data is given
    Remove(Remove),
    /// Put a plugin into the plugin directory: from an archive, an address, or by its name from the catalogue
    Install(install::Install),
    /// Look for plugins in the catalogue
    Search(catalogue::Search),
    /// List plugins of which the catalogue has a newer version. Exit code 3 when there are any
    Outdated,
    /// Make an archive of a plugin that others can install: its files, manifest, licence, what it was built from, signatures
    Pack(pack::Pack),
    /// Make the index of a directory of archives: a catalogue
    Publish(catalogue::Publish),
    /// Sign plugin files, with a key or as this machine
    Sign(signing::Sign),
    /// Make a key to sign with
    Keygen(signing::Keygen),
    /// The keys that may sign plugins here
    Trust(trust::TrustArgs),
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

/// `nself plugin remove`
#[derive(Debug, Clone, Args)]
pub struct Remove {
    /// The plugin's id
    pub id: String,
    /// Drop its schema as well, with everything in it
    #[arg(long)]
    pub data: bool,
}

/// `nself plugin rollback`
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
        PluginCommand::Dev(args) => dev::run(context, args),
        PluginCommand::Enable(args) => enable::run(context, args),
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
        PluginCommand::Upgrade(args) => upgrade::run(context, args),
        PluginCommand::Rollback(args) => {
            let request = json!({"id": args.id, "drain_ms": ms(args.drain)});
            let done = client::request(context, "plugin.rollback", request)?;
            context.output.answer(&done, || replaced(&done))
        }
        PluginCommand::Grant(args) => upgrade::grant(context, &args.subject),
        PluginCommand::Release(args) => release::run(context, args),
        PluginCommand::Remove(args) => remove(context, args),
        PluginCommand::Install(args) => install::run(context, args),
        PluginCommand::Search(args) => catalogue::search(context, args),
        PluginCommand::Outdated => catalogue::outdated(context),
        PluginCommand::Pack(args) => pack::run(context, args),
        PluginCommand::Publish(args) => catalogue::publish(context, args),
        PluginCommand::Sign(args) => signing::sign(context, args),
        PluginCommand::Keygen(args) => signing::keygen(context, args),
        PluginCommand::Trust(args) => trust::run(context, args),
    }
}

fn remove(context: &Context, args: &Remove) -> Result<(), CliError> {
    let Remove { id, data } = args;
    context.confirm(&if *data {
        format!("Remove the plugin {id}, its file, and its schema with all data in it?")
    } else {
        format!("Remove the plugin {id} and its file?")
    })?;
    let done = client::request(context, "plugin.remove", json!({"id": id, "data": data}))?;
    context.output.answer(&done, || {
        if *data {
            format!("removed {id} and its data\n")
        } else {
            format!("removed {id}; its tables stay\n")
        }
    })
}

fn list(context: &Context) -> Result<(), CliError> {
    let plugins = match client::request(context, "plugin.list", Value::Null) {
        Err(error) if error.code == "HOST_NOT_RUNNING" => offline::list(context),
        other => other,
    }?;
    context.output.answer(&plugins, || {
        let mut table = Table::new(&["PLUGIN", "STATE", "VERSION", "ISOLATION", "SIGNER", "NOTE"]);
        for plugin in plugins.as_array().into_iter().flatten() {
            let [id, state, version, note] = list_row(plugin);
            // Where it runs; a plugin that does not run is nowhere.
            let isolation = plugin["isolation"].as_str().unwrap_or("-").to_owned();
            table.row([id, state, version, isolation, signer(plugin), note]);
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
    plugins.any(|plugin| plugin["id"] == json!(id) || plugin["command"] == json!(id))
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

/// Who signed a plugin, by name, or by the key's number.
fn signer(plugin: &Value) -> String {
    let word = |key: &str| {
        plugin["signer"][key]
            .as_str()
            .filter(|word| !word.is_empty())
    };
    word("name")
        .or_else(|| word("key_id"))
        .unwrap_or("-")
        .to_owned()
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

fn replaced(done: &Value) -> String {
    let text = |key: &str| done[key].as_str().unwrap_or("nothing");
    if done["before"].is_null() {
        return format!("{} {} runs\n", text("id"), text("version"));
    }
    if done["replaced"] != json!(true) {
        return format!("{} {} runs already\n", text("id"), text("version"));
    }
    if done["version"] == done["before"] {
        return format!("{} {}: another build of it\n", text("id"), text("version"));
    }
    format!(
        "{}: {} -> {}\n",
        text("id"),
        text("before"),
        text("version")
    )
}

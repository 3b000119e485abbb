//! `nself plugin`: its words.

use std::path::PathBuf;

use clap::{Args, Subcommand};

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
    /// List plugins: state, version, ABI, file
    List,
    /// Show a plugin's manifest: routes, tasks, what it requires and provides; runs none of its code
    Inspect(Subject),
    /// Write a new plugin crate that compiles and passes its tests
    New(New),
    /// Check a plugin file as the host would before loading it
    Check(Check),
    /// Start a plugin, now and at every start, and grant what it asks for
    Enable(Enable),
    /// Stop a plugin, now and at every start
    Disable(Disable),
    /// Load a newer file beside the running one, swap, and drain the old
    Upgrade(Upgrade),
    /// Go back to the version before the last upgrade
    Rollback(Named),
    /// Grant what a plugin asks for and has not got yet
    Grant(Named),
    /// Disable a plugin and take it off the list; its tables stay unless --data is given
    Remove(Remove),
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

/// `nself plugin new`
#[derive(Debug, Clone, Args)]
pub struct New {
    /// The plugin's id: lower-case letters, digits, `-` and `_`
    pub name: String,
    /// Where to write it [default: a directory of that name here]
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
}

/// `nself plugin check`
#[derive(Debug, Clone, Args)]
pub struct Check {
    /// Plugin files, or directories of them
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

/// `nself plugin enable`
#[derive(Debug, Clone, Args)]
pub struct Enable {
    /// The plugin's id
    pub id: String,
    /// Enable what it depends on, too
    #[arg(long)]
    pub with_dependencies: bool,
}

/// `nself plugin disable`
#[derive(Debug, Clone, Args)]
pub struct Disable {
    /// The plugin's id
    pub id: String,
    /// Wait for requests and tasks in flight; without it they get the grace period of a stop
    #[arg(long)]
    pub drain: bool,
    /// Disable what depends on it, too
    #[arg(long)]
    pub cascade: bool,
}

/// `nself plugin upgrade`
#[derive(Debug, Clone, Args)]
pub struct Upgrade {
    /// The plugin's id
    pub id: String,
    /// The newer file [default: the one in the plugin directory]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// `nself plugin remove`
#[derive(Debug, Clone, Args)]
pub struct Remove {
    /// The plugin's id
    pub id: String,
    /// Migrate its schema all the way down: its tables and rows are gone
    #[arg(long)]
    pub data: bool,
}

//! `nself db`: its words.

use clap::{Args, Subcommand};

/// Migrations, seeds, a shell.
#[derive(Debug, Clone, Args)]
pub struct DbArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DbCommand,
}

/// What can be done with the database.
#[derive(Debug, Clone, Subcommand)]
pub enum DbCommand {
    /// Apply, take back or show migrations
    Migrate(Migrate),
    /// Write the next pair of migration files in db/migrations
    New(New),
    /// Run the project's seed files
    Seed,
    /// Open psql on the project's database
    Shell(Shell),
    /// Drop everything and migrate again from nothing; asks first
    Reset,
}

/// `nself db migrate`
#[derive(Debug, Clone, Args)]
pub struct Migrate {
    /// What to do.
    #[command(subcommand)]
    pub command: MigrateCommand,
}

/// What can be done with migrations.
#[derive(Debug, Clone, Subcommand)]
pub enum MigrateCommand {
    /// Apply what is pending
    Up(Steps),
    /// Take back the last step
    Down(Steps),
    /// Take back the last step and apply it again
    Redo(Steps),
    /// Show applied, pending and drifted steps. Exit code 3 when something has to change
    Status,
}

/// Which steps.
#[derive(Debug, Clone, Default, Args)]
pub struct Steps {
    /// Whose steps: `db` or a plugin's id [default: all for up, `db` for down and redo]
    #[arg(long, value_name = "OWNER")]
    pub owner: Option<String>,
    /// Up: the last number to apply. Down: how many to take back [default: all for up, 1 for down and redo]
    pub number: Option<u32>,
    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `nself db new`
#[derive(Debug, Clone, Args)]
pub struct New {
    /// What the step does, in words: `add notes`
    pub name: String,
}

/// `nself db shell`
#[derive(Debug, Clone, Default, Args)]
pub struct Shell {
    /// Passed on to psql
    #[arg(last = true)]
    pub arguments: Vec<String>,
}

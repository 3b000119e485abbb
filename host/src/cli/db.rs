//! `nself db`: migrations, seeds, a shell, a fresh start.

mod migrate;
mod open;
mod reset;
mod seed;
mod shell;
mod step;

use clap::{Args, Subcommand};

pub(super) use open::{audited, with_database};

use super::{CliError, Context};

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
    /// Run the files of db/seed in the order of their names, each in a transaction
    Seed(Seed),
    /// Open psql on the project's database
    Shell(Shell),
    /// Drop everything and migrate again from nothing; asks first, and only while no host runs
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
    Up(Up),
    /// Take back the last step; what it made is lost, so it asks first
    Down(Down),
    /// Take back the last step and apply it again; asks first
    Redo(Redo),
    /// Show applied, pending and drifted steps. Exit code 3 when something has to change
    Status(Status),
}

/// `nself db migrate up`
#[derive(Debug, Clone, Args)]
pub struct Up {
    /// The last number to apply; needs --owner [default: all]
    #[arg(requires = "owner")]
    pub number: Option<u32>,
    /// Whose steps: `nself`, `db`, `project` or a plugin's id [default: all, of enabled plugins]
    #[arg(long, value_name = "OWNER")]
    pub owner: Option<String>,
    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `nself db migrate down`
#[derive(Debug, Clone, Args)]
pub struct Down {
    /// How many steps to take back
    #[arg(default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
    /// Whose steps: `db`, `project` or a plugin's id [default: `project`, or `db` in a checkout of nself]
    #[arg(long, value_name = "OWNER")]
    pub owner: Option<String>,
    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `nself db migrate redo`
#[derive(Debug, Clone, Args)]
pub struct Redo {
    /// Whose step: `db`, `project` or a plugin's id [default: `project`, or `db` in a checkout of nself]
    #[arg(long, value_name = "OWNER")]
    pub owner: Option<String>,
    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `nself db migrate status`
#[derive(Debug, Clone, Args)]
pub struct Status {
    /// Whose steps: `nself`, `db`, `project` or a plugin's id [default: all, of enabled plugins]
    #[arg(long, value_name = "OWNER")]
    pub owner: Option<String>,
}

/// `nself db new`
#[derive(Debug, Clone, Args)]
pub struct New {
    /// What the step does, in words: `add notes`
    #[arg(required = true)]
    pub name: Vec<String>,
}

/// `nself db seed`
#[derive(Debug, Clone, Args)]
pub struct Seed {
    /// Fill the database with a made world of that many rows (`100k`, `1m`) instead of running the files
    #[arg(long, value_name = "ROWS", value_parser = seed::size)]
    pub size: Option<u64>,
    /// Check the files, print what would run and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `nself db shell`
#[derive(Debug, Clone, Default, Args)]
pub struct Shell {
    /// Passed on to psql
    #[arg(last = true)]
    pub arguments: Vec<String>,
}

pub(super) fn run(context: &Context, args: &DbArgs) -> Result<(), CliError> {
    match &args.command {
        DbCommand::Migrate(args) => match &args.command {
            MigrateCommand::Up(args) => migrate::up(context, args),
            MigrateCommand::Down(args) => migrate::down(context, args),
            MigrateCommand::Redo(args) => migrate::redo(context, args),
            MigrateCommand::Status(args) => migrate::status(context, args),
        },
        DbCommand::New(args) => step::create(context, args),
        DbCommand::Seed(args) => seed::run(context, args),
        DbCommand::Shell(args) => shell::run(context, args),
        DbCommand::Reset => reset::run(context),
    }
}

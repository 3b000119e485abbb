//! The command line: one file per command, no logic.

pub mod audit;
mod backup;
pub mod client;
mod commands;
mod completions;
mod config;
mod context;
pub mod db;
mod doctor;
mod error;
pub mod gaps;
pub mod hasura;
mod init;
mod log_level;
mod logs;
mod man;
mod output;
pub mod plugin;
mod progress;
pub mod serve;
mod serving;
pub mod status;
pub mod stop;
mod systemd;
mod token;
mod top;
pub mod up;
pub mod urls;
mod version;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use context::Context;
pub use error::{CliError, Exit};
pub use output::{Output, Table};
pub use progress::Progress;

use crate::{
    capability::process,
    config::{Variables, process_variables},
    http::handed,
    loader::memory,
};

/// A self-hosted backend in one process.
#[derive(Debug, Parser)]
#[command(
    name = "nself",
    version,
    propagate_version = true,
    max_term_width = 100
)]
struct Cli {
    /// Print one JSON object instead of text, errors included
    #[arg(long, global = true)]
    json: bool,
    /// The project's directory [default: the nearest one upwards with a nself.toml, else this one]
    #[arg(long, global = true, value_name = "DIR")]
    project: Option<PathBuf>,
    /// Answer yes to every question
    #[arg(long, short = 'y', global = true)]
    yes: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a project: nself.toml, private directories, secrets
    Init(init::InitArgs),
    /// Start everything: a private Postgres where none is configured, migrations, plugins, one gateway port
    Up(up::UpArgs),
    /// Run against an external Postgres (DATABASE_URL), as containers do: nothing local is started
    Serve(serve::ServeArgs),
    /// Stop the host: accept nothing new, let what is in flight finish
    Stop(stop::StopArgs),
    /// Show each part: state, version, and what is wrong. Exit code 4 when something does not run
    Status(status::StatusArgs),
    /// Look for what keeps the host from running, or from running well. Exit code 4 when something does
    Doctor(doctor::DoctorArgs),
    /// Watch a running host: requests, sockets, jobs, plugins. `q` ends it
    Top(top::TopArgs),
    /// List what can be reached where
    Urls(urls::UrlsArgs),
    /// Show what the host in the background has logged, and go on with what it logs
    Logs(logs::LogsArgs),
    /// Show or change what the running host logs, its plugins included, until it ends
    LogLevel(log_level::LogLevelArgs),
    /// See and change plugins
    Plugin(plugin::PluginArgs),
    /// Migrations, seeds, a shell: with or without a running host
    Db(db::DbArgs),
    /// Make, try and restore backups of the private cluster, to any moment
    Backup(backup::BackupArgs),
    /// Read the audit log, prove it, export it, put old months away
    Audit(audit::AuditArgs),
    /// Make an access token for trying things out, in development
    Token(token::TokenArgs),
    /// Show the effective configuration and where each value came from
    Config(config::ConfigArgs),
    /// The metadata of Hasura, and what it verifies tokens with
    Hasura(hasura::HasuraArgs),
    /// List what is planned and not built yet, and check that nothing is missing from the list
    Gaps(gaps::GapsArgs),
    /// Print the units that let systemd run the host of this project
    Systemd(systemd::SystemdArgs),
    /// Print what makes a shell complete the words of `nself`
    Completions(completions::CompletionsArgs),
    /// Write the manual: a page for `man` of each command
    Man(man::ManArgs),
    /// Show the version
    Version,
}

/// The program: reads the process's arguments and environment, and runs.
pub fn main() -> ExitCode {
    memory::give_back_large();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // What plugins run is run by this program once more.
    if let Some(ended) = process::role(&arguments) {
        return ended;
    }
    let handed = handed::take_over();
    let variables = process_variables();
    match handed {
        Ok(()) => run(&arguments, variables).into(),
        Err(error) => {
            let json = arguments.iter().any(|argument| argument == "--json");
            let error = CliError::of("SOCKET_HANDED", Exit::Configuration, &error)
                .with_help("hand TCP sockets that listen: `nself systemd socket` prints the unit");
            Output::new(json, &variables).error(&error).into()
        }
    }
}

/// Runs one command line.
pub fn run(arguments: &[OsString], variables: Variables) -> Exit {
    let json = arguments.iter().any(|argument| argument == "--json");
    let cli = match parse(arguments, &variables) {
        Ok(Parsed::Own(cli)) => cli,
        Ok(Parsed::OfPlugin(globals, words)) => {
            return of_plugin(arguments, globals, &words, variables);
        }
        Err(error) => return refused(&error, &Output::new(json, &variables)),
    };
    let context = Context::new(
        Output::new(cli.json, &variables),
        variables,
        cli.project,
        cli.yes,
    );
    let done = match cli.command {
        Command::Init(args) => init::run(&context, &args),
        Command::Up(args) => up::run(&context, &args),
        Command::Serve(args) => serve::run(&context, &args),
        Command::Stop(_) => stop::run(&context),
        Command::Status(args) => status::run(&context, &args),
        Command::Doctor(args) => doctor::run(&context, &args),
        Command::Top(args) => top::run(&context, &args),
        Command::Urls(args) => urls::run(&context, &args),
        Command::Logs(args) => logs::run(&context, &args),
        Command::LogLevel(args) => log_level::run(&context, &args),
        Command::Plugin(args) => plugin::run(&context, &args),
        Command::Db(args) => db::run(&context, &args),
        Command::Backup(args) => backup::run(&context, &args),
        Command::Audit(args) => audit::run(&context, &args),
        Command::Token(args) => token::run(&context, &args),
        Command::Config(args) => config::run(&context, &args),
        Command::Hasura(args) => hasura::run(&context, &args),
        Command::Gaps(args) => gaps::run(&context, &args),
        Command::Systemd(args) => systemd::run(&context, &args),
        Command::Completions(args) => completions::run(&context, &args, Cli::command()),
        Command::Man(args) => man::run(&context, &args, Cli::command()),
        Command::Version => version::run(&context),
    };
    match done {
        Ok(()) => Exit::Done,
        Err(error) => context.output.error(&error),
    }
}

/// A command line.
enum Parsed {
    Own(Cli),
    /// A name that none of the commands here has, and what follows: a plugin's, perhaps.
    OfPlugin(commands::Globals, Vec<String>),
}

fn parse(arguments: &[OsString], variables: &Variables) -> Result<Parsed, clap::Error> {
    let mut command = Cli::command().allow_external_subcommands(true);
    if let Some(summary) = commands::summary(arguments, variables) {
        command = command.after_help(summary);
    }
    let matches = command.try_get_matches_from(arguments)?;
    match matches.subcommand() {
        Some((name, more)) if Cli::command().find_subcommand(name).is_none() => {
            let more = more.get_many::<OsString>("").into_iter().flatten();
            let words = std::iter::once(OsString::from(name)).chain(more.cloned());
            let (mut globals, words) = commands::Globals::take(words.collect());
            globals.json |= matches.get_flag("json");
            globals.yes |= matches.get_flag("yes");
            let project = matches.get_one::<PathBuf>("project");
            globals.project = globals.project.or_else(|| project.cloned());
            Ok(Parsed::OfPlugin(globals, words))
        }
        _ => Cli::from_arg_matches(&matches).map(Parsed::Own),
    }
}

/// Runs a command of a plugin. Words that are nobody's are refused as if there were no such commands: with the name that
/// was meant, most likely.
fn of_plugin(
    arguments: &[OsString],
    globals: commands::Globals,
    words: &[String],
    variables: Variables,
) -> Exit {
    let output = Output::new(globals.json, &variables);
    let context = Context::new(output, variables, globals.project, globals.yes);
    match commands::run(&context, words) {
        Ok(commands::Ran::Done) => Exit::Done,
        Ok(commands::Ran::Refused(error)) => refused(&error, &context.output),
        Ok(commands::Ran::Nobodys) => match Cli::command().try_get_matches_from(arguments) {
            Err(error) => refused(&error, &context.output),
            Ok(_) => Exit::Usage,
        },
        Err(error) => context.output.error(&error),
    }
}

/// Help and version are answers; everything else that clap says is a usage error.
fn refused(error: &clap::Error, output: &Output) -> Exit {
    let is_answer = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    if output.is_json() && !is_answer {
        let text = error.render().to_string();
        let message = text
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .to_owned();
        return output
            .error(&CliError::new("USAGE", Exit::Usage, message).with_help("run `nself --help`"));
    }
    // Nothing can be done when the terminal is gone.
    drop(error.print());
    if is_answer { Exit::Done } else { Exit::Usage }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_declared_without_contradiction() {
        Cli::command().debug_assert();
    }
}

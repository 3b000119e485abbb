//! What every command gets: where it runs, how it prints, and what it may assume.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use super::{CliError, Exit, Output, Progress};
use crate::config::{Config, Provenance, Variables, project};

/// The surroundings of a command.
#[derive(Debug)]
pub struct Context {
    /// How to print.
    pub output: Output,
    /// The process environment.
    pub variables: Variables,
    project: Option<PathBuf>,
    yes: bool,
}

impl Context {
    /// `project` and `yes` are the global flags.
    pub fn new(output: Output, variables: Variables, project: Option<PathBuf>, yes: bool) -> Self {
        Self {
            output,
            variables,
            project,
            yes,
        }
    }

    /// The project's directory: the flag's, else the nearest upwards with a `nself.toml`, else the current one.
    pub fn directory(&self) -> Result<PathBuf, CliError> {
        if let Some(stated) = &self.project {
            // Absolute, so that a host may change its directory.
            return stated
                .canonicalize()
                .ok()
                .filter(|path| path.is_dir())
                .ok_or_else(|| {
                    let message = format!("{} is no directory", stated.display());
                    CliError::new("PROJECT_NOT_FOUND", Exit::Usage, message).with_help(format!(
                        "make it a project: nself init '{}'",
                        stated.display()
                    ))
                });
        }
        let current = std::env::current_dir().map_err(|error| {
            CliError::of("PROJECT_NOT_FOUND", Exit::Failed, &error)
                .with_help("name the project: --project DIR")
        })?;
        Ok(project::find(&current).unwrap_or(current))
    }

    /// The directory that the flag names, if it does.
    pub fn stated_directory(&self) -> Option<&PathBuf> {
        self.project.as_ref()
    }

    /// The project's configuration and where its values came from.
    pub fn config(&self) -> Result<(Config, Provenance), CliError> {
        Ok(Config::load(&self.directory()?, &self.variables)?)
    }

    /// Shows that something takes its time.
    pub fn progress(&self, message: &str) -> Progress {
        Progress::start(&self.output, message)
    }

    /// Asks before something is destroyed.
    ///
    /// # Errors
    ///
    /// Without a terminal there is nobody to ask: the error names the flag. A `no` is [`Exit::Interrupted`].
    pub fn confirm(&self, question: &str) -> Result<(), CliError> {
        if self.yes {
            return Ok(());
        }
        if self.output.is_json() || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            let message = format!("this needs a confirmation: {question}");
            return Err(
                CliError::new("CONFIRMATION_NEEDED", Exit::Usage, message).with_help("pass --yes")
            );
        }
        let asked = write!(io::stderr(), "{question} [y/N] ").and_then(|()| io::stderr().flush());
        let mut answer = String::new();
        let answered = asked.and_then(|()| io::stdin().lock().read_line(&mut answer));
        if answered.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
            return Ok(());
        }
        Err(CliError::new(
            "NOT_CONFIRMED",
            Exit::Interrupted,
            "nothing was changed",
        ))
    }
}

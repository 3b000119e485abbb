//! Programs that are run for a backup: with an environment of their own, and an error that quotes them.

use std::{ffi::OsString, fs::File, path::Path, process::Stdio};

use super::BackupError;
use crate::postgres::{
    account::Account,
    binaries::{self, Binaries},
};

/// What a program may write before the rest of it is left out of an error, bytes.
const QUOTE_BYTES: usize = 2_000;

/// A program that is about to be run.
pub(super) struct Program {
    name: &'static str,
    command: std::process::Command,
}

impl Program {
    /// One of Postgres's, which some distributions leave out.
    pub(super) fn of_postgres(
        binaries: &Binaries,
        name: &'static str,
    ) -> Result<Self, BackupError> {
        let path = binaries.optional(name).ok_or(BackupError::Missing(name))?;
        Ok(Self::at(name, &path))
    }

    /// One that every system has.
    pub(super) fn of_system(name: &'static str) -> Self {
        Self::at(name, Path::new(name))
    }

    fn at(name: &'static str, path: &Path) -> Self {
        let mut command = binaries::command(path);
        command.current_dir("/");
        Self { name, command }
    }

    pub(super) fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.command.arg(argument.into());
        self
    }

    pub(super) fn option(self, name: &str, value: &Path) -> Self {
        let mut option = OsString::from(name);
        option.push("=");
        option.push(value);
        self.arg(option)
    }

    /// As whom it runs.
    pub(super) fn account(mut self, account: &Account) -> Self {
        account.apply(&mut self.command);
        self
    }

    pub(super) fn env(
        mut self,
        variables: impl IntoIterator<Item = (&'static str, OsString)>,
    ) -> Self {
        self.command.envs(variables);
        self
    }

    /// What it reads.
    pub(super) fn reads(mut self, file: File) -> Self {
        self.command.stdin(file);
        self
    }

    /// Runs it to its end.
    pub(super) async fn run(self) -> Result<(), BackupError> {
        let name = self.name;
        let mut command = tokio::process::Command::from(self.command);
        command.stdout(Stdio::null()).kill_on_drop(true);
        let ended = command.output().await.map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                BackupError::Missing(name)
            } else {
                failed(name, error.to_string())
            }
        })?;
        if ended.status.success() {
            return Ok(());
        }
        let told = String::from_utf8_lossy(&ended.stderr);
        let told: String = told.trim().chars().take(QUOTE_BYTES).collect();
        Err(failed(name, format!("{told} ({})", ended.status)))
    }
}

fn failed(program: &'static str, told: String) -> BackupError {
    BackupError::Program { program, told }
}

//! The command line from outside, and the control socket that it uses.

mod audit;
mod backup;
mod config;
mod control;
mod db;
mod doctor;
mod gaps;
mod hasura;
mod init;
mod keys;
mod logs;
mod manners;
mod plugin_new;
mod systemd;
mod tls;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A project directory, and the binary run in it with nothing but the given environment.
struct Project {
    directory: TempDir,
}

/// What a run left behind.
#[derive(Debug)]
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Project {
    fn empty() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// One that the account of a private Postgres may enter, when the tests run as root.
    fn passable() -> Self {
        let project = Self::empty();
        fs::set_permissions(project.path(), fs::Permissions::from_mode(0o711)).unwrap();
        project
    }

    fn with(files: &[(&str, &str)]) -> Self {
        let project = Self::empty();
        for (name, text) in files {
            fs::write(project.path().join(name), text).unwrap();
        }
        project
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nself"));
        command
            .args(arguments)
            .env_clear()
            .envs(variables.iter().copied());
        command.current_dir(self.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[])
    }

    fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        let output = self.command(arguments, variables).output().unwrap();
        Ran {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    fn check(&self, code: i32, stderr_holds: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for text in stderr_holds {
            assert!(self.stderr.contains(text), "no {text:?} in {self:?}");
        }
    }
}

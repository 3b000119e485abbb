//! What a command answers when it fails: a code, a sentence, what to do, and the exit code.

use std::error::Error;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
use crate::config::project::InitError;
use crate::config::secrets::SecretError;
use crate::telemetry::LogError;

/// Exit codes, all of them: `docs/exit-codes.md`. From 65 on they are those of `sysexits.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", from = "u8")]
#[repr(u8)]
pub enum Exit {
    /// It is done.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Something has to change: pending migrations, drift.
    ChangesNeeded = 3,
    /// Something that should run does not.
    Unhealthy = 4,
    /// The data given is wrong.
    BadData = 65,
    /// Something that is needed is not available: no host, no Postgres, a taken port.
    Unavailable = 69,
    /// A file or directory cannot be created.
    CannotCreate = 73,
    /// Worth trying again.
    TryAgain = 75,
    /// Not permitted.
    Permission = 77,
    /// The configuration is wrong.
    Configuration = 78,
    /// Interrupted by the user.
    Interrupted = 130,
}

impl From<Exit> for u8 {
    fn from(exit: Exit) -> Self {
        exit as Self
    }
}

impl From<u8> for Exit {
    fn from(number: u8) -> Self {
        match number {
            0 => Self::Done,
            2 => Self::Usage,
            3 => Self::ChangesNeeded,
            4 => Self::Unhealthy,
            65 => Self::BadData,
            69 => Self::Unavailable,
            73 => Self::CannotCreate,
            75 => Self::TryAgain,
            77 => Self::Permission,
            78 => Self::Configuration,
            130 => Self::Interrupted,
            // A newer host may know more; that it failed is certain.
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(u8::from(exit))
    }
}

/// Why a command failed, as it is printed and as it crosses the control socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CliError {
    /// Stable and upper-case; each has a page in `docs/errors/`.
    pub code: String,
    /// One sentence: what is wrong.
    pub message: String,
    /// What is behind it, nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What to do: a command to paste where there is one.
    #[serde(default)]
    pub help: Option<String>,
    /// The exit code.
    pub exit: Exit,
}

impl CliError {
    /// An error without cause and help.
    pub fn new(code: &str, exit: Exit, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            causes: Vec::new(),
            help: None,
            exit,
        }
    }

    /// An error with its chain of sources.
    pub fn of(code: &str, exit: Exit, error: &dyn Error) -> Self {
        Self::new(code, exit, error.to_string()).with_cause_of(error)
    }

    /// Says what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says what is behind it.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    fn with_cause_of(mut self, error: &dyn Error) -> Self {
        let mut source = error.source();
        while let Some(cause) = source {
            self.causes.push(cause.to_string());
            source = cause.source();
        }
        self
    }
}

impl std::fmt::Display for CliError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "error[{}]: {}", self.code, self.message)
    }
}

impl Error for CliError {}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::of(error.code(), Exit::Configuration, &error).with_help(error.help())
    }
}

impl From<SecretError> for CliError {
    fn from(error: SecretError) -> Self {
        let exit = match error {
            SecretError::Loose { .. } | SecretError::Owner { .. } => Exit::Permission,
            SecretError::Name { .. } => Exit::Usage,
            SecretError::Access { .. } | SecretError::Random => Exit::Failed,
        };
        Self::of(error.code(), exit, &error).with_help(error.help())
    }
}

impl From<InitError> for CliError {
    fn from(error: InitError) -> Self {
        match error {
            InitError::Secret(error) => error.into(),
            InitError::Create { .. } => {
                let help =
                    "check the disk and the permissions of the directory, or choose another one";
                Self::of("INIT_CREATE", Exit::CannotCreate, &error).with_help(help)
            }
        }
    }
}

impl From<LogError> for CliError {
    fn from(error: LogError) -> Self {
        Self::of(error.code(), Exit::Configuration, &error)
    }
}

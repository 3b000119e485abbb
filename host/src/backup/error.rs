//! What goes wrong with backups, and what to do.

use std::{
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use crate::{config::secrets::SecretError, postgres::cluster::ClusterError};

/// Why a backup was not made, tried or restored. What was there before is there then.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// `database.url` is set.
    #[error(
        "the database is not a private cluster of this project: what runs it has to back it up"
    )]
    Elsewhere,
    /// Another command has the backups.
    #[error("another command is making, trying or restoring a backup of this project")]
    Busy,
    /// The host ended, or whoever made it has a fault.
    #[error("it was interrupted: the host stops, or its log tells of a fault")]
    Interrupted,
    /// There is none.
    #[error("there is no {} in {directory}", id.as_ref().map_or_else(|| "backup".to_owned(), |id| format!("backup {id}")), directory = .directory.display())]
    None {
        /// The one that was asked for; else any.
        id: Option<String>,
        /// Where backups lie.
        directory: PathBuf,
    },
    /// None reaches back so far.
    #[error(
        "no backup reaches back to {to}: the first one from which everything is there began at {first}"
    )]
    TooEarly {
        /// What was asked for.
        to: Timestamp,
        /// The first moment.
        first: Timestamp,
    },
    /// It is for another major of Postgres.
    #[error("backup {id} is of PostgreSQL {postgres}, and the programs here are PostgreSQL {here}")]
    OtherMajor {
        /// Which.
        id: String,
        /// The version that made it.
        postgres: String,
        /// The major that is here.
        here: u32,
    },
    /// A server uses the data.
    #[error("PostgreSQL (process {0}) runs on the data that is to be replaced")]
    Running(i32),
    /// A program of Postgres, or one that every system has, is not there.
    #[error("{0} is not on this machine")]
    Missing(&'static str),
    /// A program failed.
    #[error("{program} failed: {told}")]
    Program {
        /// Which.
        program: &'static str,
        /// What it wrote.
        told: String,
    },
    /// The server on the restored data ended before it was through with the log of writes.
    #[error("PostgreSQL ended while it went on with the log of writes: {0}")]
    Recovery(String),
    /// It is there, and less is in it than was in the database when it was made.
    #[error("backup {id} is not whole: {what}")]
    NotWhole {
        /// Which.
        id: String,
        /// What is missing or broken.
        what: String,
    },
    /// A file operation failed.
    #[error("cannot read or write {path}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something in a backup does not read.
    #[error("{path} is damaged", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A server did not do what was asked.
    #[error("the database did not answer as it should")]
    Database(#[from] tokio_postgres::Error),
    /// No server.
    #[error(transparent)]
    Cluster(Box<ClusterError>),
    /// Secrets cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl From<ClusterError> for BackupError {
    fn from(error: ClusterError) -> Self {
        Self::Cluster(Box::new(error))
    }
}

impl BackupError {
    /// The code by which it is documented. Errors of others that it only passes on have codes of their own.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Elsewhere => "BACKUP_ELSEWHERE",
            Self::Busy => "BACKUP_BUSY",
            Self::Interrupted => "INTERRUPTED",
            Self::None { .. } => "BACKUP_NONE",
            Self::TooEarly { .. } => "BACKUP_TOO_EARLY",
            Self::OtherMajor { .. } => "BACKUP_MAJOR",
            Self::Running(_) => "BACKUP_RUNNING",
            Self::Missing(_) | Self::Program { .. } => "BACKUP_PROGRAM",
            Self::Recovery(_) => "BACKUP_RECOVERY",
            Self::NotWhole { .. } | Self::Damaged { .. } => "BACKUP_BROKEN",
            Self::File { .. } | Self::Secret(_) => "BACKUP_FILE",
            Self::Database(_) | Self::Cluster(_) => "DATABASE_ERROR",
        }
    }

    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

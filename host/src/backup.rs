//! Backups of the private cluster, to any moment: base backups, and the log of writes since (`postgres/archive.rs`).
//!
//! All of it is done by Postgres's own programs, which everybody who knows Postgres can use without us: `pg_basebackup` makes a base
//! backup while everything runs, `pg_verifybackup` compares it with its manifest, and a server that starts on it goes on with the log
//! of writes. A backup counts as one only after such a server was started on it, beside the project's, and everything in it was read
//! (`trial`). What is restored is built beside the data that there is and takes its place in one step; the old data stays.

mod error;
mod keeper;
mod program;
mod restore;
mod shelf;
mod take;
mod trial;
mod workshop;

use std::{fs, path::PathBuf, sync::Arc};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

pub use error::BackupError;
pub use keeper::Keeper;
pub(crate) use keeper::{newest, shelved};

use self::shelf::Shelf;
use crate::{
    config::{
        Config, FILE_NAME,
        secrets::{DATABASE_PASSWORD, Secrets},
    },
    postgres::cluster::{ClusterOptions, Premises},
    run::cluster_options,
};

/// A base backup, as it is written down beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The time at which it was begun, such as `20300131T023000Z`.
    pub id: String,
    /// From this moment on everything can be restored.
    pub from: Timestamp,
    /// Version of the host that made it.
    pub nself: String,
    /// Version of Postgres that it is for; its major has to be the same.
    pub postgres: String,
    /// Size of its files, bytes.
    pub bytes: u64,
    /// The first segment of the log of writes that it needs.
    pub segment: String,
    /// What it has to hold at least.
    pub holds: Holds,
    /// What came of trying it, the last time that it went well.
    pub tried: Option<Tried>,
}

/// What was there when a backup was begun.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holds {
    /// Tables of the project's database.
    pub tables: i64,
    /// Entries of the audit log, of which none is ever taken away by itself.
    pub audit_entries: i64,
}

/// A server was started on a backup, and everything in it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// When.
    pub at: Timestamp,
    /// The newest write that it had; none when nothing was written since the backup.
    pub until: Option<Timestamp>,
    /// Rows that were read.
    pub rows: i64,
    /// What was there.
    pub holds: Holds,
    /// Time from the first file to the promoted server, milliseconds.
    pub ms: u64,
}

/// What a restore has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// Of which backup.
    pub backup: String,
    /// The newest write that is there.
    pub until: Option<Timestamp>,
    /// Where the data is that was there before.
    pub before: Option<PathBuf>,
    /// Secrets that this project has got from the backup.
    pub secrets: Vec<String>,
    /// Secrets of the backup that are others in this project, which has kept its own.
    pub other_secrets: Vec<String>,
    /// Time that it took, milliseconds.
    pub ms: u64,
}

/// The backups of a project. While it lives, no other command of the project works on them.
pub struct Backups {
    premises: Premises,
    shelf: Shelf,
    project: ProjectFiles,
    keep: usize,
    _lock: fs::File,
}

/// What a backup holds beside the data.
struct ProjectFiles {
    directory: PathBuf,
    state: PathBuf,
    password: String,
}

impl ProjectFiles {
    /// Files that say what the project is.
    const NAMES: [&str; 2] = [FILE_NAME, "plugins.lock"];

    fn secrets(&self) -> PathBuf {
        self.state.join("secrets")
    }
}

impl Backups {
    /// Those of the project. It blocks.
    ///
    /// # Errors
    ///
    /// [`BackupError`]: the database is not ours, another command is at work, or the cluster has no place or programs.
    pub(crate) fn of(config: &Config) -> Result<Self, BackupError> {
        let (secrets, options) = parts(config)?;
        let premises = Premises::open(options)?;
        let state = config.state_directory();
        let lock = state.join("backup.lock");
        let opened = fs::File::create(&lock).map_err(BackupError::file(&lock))?;
        flock(&opened, FlockOperation::NonBlockingLockExclusive).map_err(|_| BackupError::Busy)?;
        let password = secrets.get(DATABASE_PASSWORD)?;
        workshop::clear(&premises.pg)?;
        Ok(Self {
            shelf: Shelf::new(premises.shelf.clone()),
            premises,
            project: ProjectFiles {
                directory: config.directory.clone(),
                state,
                password: password.map_or_else(String::new, |secret| secret.expose().to_owned()),
            },
            keep: config.backup.keep,
            _lock: opened,
        })
    }

    /// The one of that id, or the newest.
    ///
    /// # Errors
    ///
    /// [`BackupError::None`].
    pub fn find(&self, id: Option<&str>) -> Result<Record, BackupError> {
        let mut all = self.shelf.list()?.into_iter();
        let found = all.find(|record| id.is_none_or(|id| record.id == id));
        found.ok_or_else(|| BackupError::None {
            id: id.map(str::to_owned),
            directory: self.shelf.directory().to_owned(),
        })
    }
}

/// What the project's cluster is opened with.
fn parts(config: &Config) -> Result<(Secrets, ClusterOptions), BackupError> {
    if config.database.url.is_some() {
        return Err(BackupError::Elsewhere);
    }
    let secrets = Secrets::of(config)?;
    let silent: Arc<dyn Fn(&str) + Send + Sync> = Arc::new(|_| ());
    let options = cluster_options(config, &secrets, &silent)?;
    Ok((secrets, options))
}

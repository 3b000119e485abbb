//! Backups that a running host makes of its own cluster when it is asked to: by a job, and so on a schedule.

use std::{path::PathBuf, sync::Arc};

use serde_json::json;
use tokio::{runtime::Handle, task::spawn_blocking};

use super::{BackupError, Backups, Record, shelf::Shelf};
use crate::{
    audit::{Entry, append},
    config::Config,
    postgres::{cluster::backups_of, connect::Target},
};

/// Makes backups. One per host; cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    config: Arc<Config>,
    target: Target,
}

impl Keeper {
    /// Of the database at `target`.
    pub(crate) fn new(config: &Config, target: &Target) -> Self {
        Self {
            config: Arc::new(config.clone()),
            target: target.clone(),
        }
    }

    /// Makes one and tries it, as `nself backup create` does; `actor` is who asked. It goes on to its end, whoever waits for it.
    ///
    /// # Errors
    ///
    /// [`BackupError`], as [`Backups::take`].
    pub(crate) async fn take(&self, actor: String) -> Result<Record, BackupError> {
        let (keeper, runtime) = (self.clone(), Handle::current());
        // It reads and writes files all the time.
        let taken = spawn_blocking(move || runtime.block_on(keeper.make(actor))).await;
        taken.unwrap_or_else(|_| Err(BackupError::Interrupted))
    }

    async fn make(&self, actor: String) -> Result<Record, BackupError> {
        let backups = Backups::of(&self.config)?;
        let (client, connection) = self.target.connect().await?;
        let connection = tokio::spawn(connection);
        let record = backups.take(&self.target, &client).await?;
        let entry = Entry {
            details: json!({"backup": record.id, "bytes": record.bytes}),
            actor: Some(actor),
            ..Entry::new("backup.created", "database")
        };
        append(&client, &entry).await?;
        drop(client);
        // It ends with its client.
        let _ = connection.await;
        Ok(record)
    }
}

/// The newest backup of the project that stood its trial; none when there is no such one.
///
/// # Errors
///
/// When the directory of backups cannot be read.
pub(crate) fn newest(config: &Config) -> Result<Option<Record>, BackupError> {
    let (_, all) = shelved(config)?;
    Ok(all.into_iter().find(|record| record.tried.is_some()))
}

/// All backups of the project that are whole, the newest first, and where they lie: nowhere while it has no cluster. It takes
/// no lock, as a directory has the name of a backup only when it is one, and makes nothing.
///
/// # Errors
///
/// When the directory of backups cannot be read.
pub(crate) fn shelved(config: &Config) -> Result<(Option<PathBuf>, Vec<Record>), BackupError> {
    let configured = config.backup.directory.as_ref();
    let configured = configured.map(|path| config.resolve(path));
    let Some(directory) = configured.or_else(|| backups_of(&config.state_directory())) else {
        return Ok((None, Vec::new()));
    };
    let all = Shelf::new(directory.clone()).list()?;
    Ok((Some(directory), all))
}

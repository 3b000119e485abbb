//! A directory for data that is being built. It lies beside the project's own data, so that what is built can take its place in one
//! step, and belongs to the account of the server.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::BackupError;
use crate::postgres::{account::Account, cluster::quit};

/// Start of its name: hidden, so that no start of the cluster takes it for data.
const PREFIX: &str = ".restoring-";

/// Gone when it is dropped, except for what was moved elsewhere.
pub(super) struct Workshop {
    path: PathBuf,
}

impl Workshop {
    pub(super) fn new(pg: &Path, account: &Account) -> Result<Self, BackupError> {
        let path = pg.join(format!("{PREFIX}{}", std::process::id()));
        let made = account.private_dir(&path);
        made.map_err(BackupError::file(&path))?;
        let data = path.join("data");
        let made = account.private_dir(&data);
        made.map_err(BackupError::file(&data))?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next command.
        let _ = remove(&self.path);
    }
}

/// Removes what commands left that were killed, their servers included. Whoever calls holds the lock of the backups.
pub(super) fn clear(pg: &Path) -> Result<(), BackupError> {
    let entries = fs::read_dir(pg).map_err(BackupError::file(pg))?;
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            remove(&entry.path()).map_err(BackupError::file(&entry.path()))?;
        }
    }
    Ok(())
}

fn remove(workshop: &Path) -> std::io::Result<()> {
    quit(&workshop.join("data"));
    fs::remove_dir_all(workshop)
}

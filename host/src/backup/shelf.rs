//! Where backups lie: a directory for each, with its record, and one for the log of writes.

use std::{
    fs,
    io::ErrorKind::{NotADirectory, NotFound},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use super::{BackupError, Record};
use crate::{
    postgres::{account::Account, cluster::WAL},
    whole_file::{PRIVATE, WholeFile},
};

/// The record in the directory of a backup.
const RECORD: &str = "record.json";

/// Start of the name of a directory that is on its way.
const INCOMING: &str = ".incoming-";

/// Digits in the name of a segment that say where in the log it is; those before say on which timeline.
const POSITION: std::ops::Range<usize> = 8..24;

#[derive(Debug)]
pub(super) struct Shelf {
    directory: PathBuf,
}

impl Shelf {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn of(&self, id: &str) -> PathBuf {
        self.directory.join(id)
    }

    pub(super) fn wal(&self) -> PathBuf {
        self.directory.join(WAL)
    }

    /// Makes it. The backups are for whoever runs the host; only the log of writes is the server's, which may pass.
    pub(super) fn prepare(&self, account: &Account) -> Result<(), BackupError> {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&self.directory);
        made.map_err(BackupError::file(&self.directory))?;
        let wal = self.wal();
        if let Some(blocked) = account.blocked_at(&wal) {
            let closed = std::io::Error::other(format!(
                "{account}, who runs PostgreSQL, cannot pass it: run `chmod o+x {}`",
                blocked.display()
            ));
            return Err(BackupError::file(&blocked)(closed));
        }
        account.private_dir(&wal).map_err(BackupError::file(&wal))
    }

    /// A new directory for a backup that is not whole. What others left there is removed.
    pub(super) fn incoming(&self) -> Result<PathBuf, BackupError> {
        for entry in fs::read_dir(&self.directory)
            .map_err(BackupError::file(&self.directory))?
            .flatten()
        {
            if entry.file_name().to_string_lossy().starts_with(INCOMING) {
                let path = entry.path();
                fs::remove_dir_all(&path).map_err(BackupError::file(&path))?;
            }
        }
        let path = self
            .directory
            .join(format!("{INCOMING}{}", std::process::id()));
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(BackupError::file(&path))?;
        Ok(path)
    }

    /// Gives what is whole its name.
    pub(super) fn place(&self, incoming: &Path, id: &str) -> Result<(), BackupError> {
        let place = self.of(id);
        fs::rename(incoming, &place).map_err(BackupError::file(&place))?;
        let synced = fs::File::open(&self.directory).and_then(|dir| dir.sync_all());
        synced.map_err(BackupError::file(&self.directory))
    }

    /// All that are whole, the newest first.
    pub(super) fn list(&self) -> Result<Vec<Record>, BackupError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == NotFound => return Ok(Vec::new()),
            Err(error) => return Err(BackupError::file(&self.directory)(error)),
        };
        let mut records = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path().join(RECORD);
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            let text = match fs::read(&path) {
                Ok(text) => text,
                // No backup, or one that is being removed at this moment.
                Err(error) if matches!(error.kind(), NotFound | NotADirectory) => continue,
                Err(error) => return Err(BackupError::file(&path)(error)),
            };
            let record: Record = serde_json::from_slice(&text)
                .map_err(|source| BackupError::Damaged { path, source })?;
            records.push(record);
        }
        records.sort_by(|one, other| other.id.cmp(&one.id));
        Ok(records)
    }

    /// Removes all but the newest `keep`, and what of the log of writes only those had needed; says which.
    pub(super) fn prune(&self, keep: usize) -> Result<Vec<String>, BackupError> {
        let records = self.list()?;
        let (kept, old) = records.split_at(keep.min(records.len()));
        for record in old {
            let path = self.of(&record.id);
            fs::remove_dir_all(&path).map_err(BackupError::file(&path))?;
        }
        let first = kept.iter().filter_map(|record| position(&record.segment));
        if let Some(first) = first.min() {
            self.forget_before(first)?;
        }
        Ok(old.iter().map(|record| record.id.clone()).collect())
    }

    /// Where the log of writes ends that is kept, as [`position`]; none when nothing of its last timeline is there yet. Each restore
    /// begins a timeline, and what the one before it had written after that moment counts no more.
    pub(super) fn end(&self) -> Result<Option<String>, BackupError> {
        let names = super::take::files(&self.wal())?;
        let names = names.iter().filter_map(|path| path.file_name()?.to_str());
        let names: Vec<&str> = names.filter(|name| !name.starts_with('.')).collect();
        let timeline = names
            .iter()
            .filter_map(|name| name.get(..POSITION.start))
            .max();
        let last = names
            .iter()
            .filter(|name| name.get(..POSITION.start) == timeline);
        Ok(last
            .filter_map(|name| position(name))
            .max()
            .map(str::to_owned))
    }

    fn forget_before(&self, first: &str) -> Result<(), BackupError> {
        let wal = self.wal();
        for entry in fs::read_dir(&wal)
            .map_err(BackupError::file(&wal))?
            .flatten()
        {
            let name = entry.file_name();
            // A history of timelines is small, has no position, and stays.
            if position(&name.to_string_lossy()).is_some_and(|position| position < first) {
                let path = entry.path();
                fs::remove_file(&path).map_err(BackupError::file(&path))?;
            }
        }
        Ok(())
    }
}

impl Record {
    /// Writes it down beside the backup that lies in `directory`.
    pub(super) fn write(&self, directory: &Path) -> Result<(), BackupError> {
        let path = directory.join(RECORD);
        let text = serde_json::to_vec_pretty(self).expect("a record is JSON");
        WholeFile::write(&path, PRIVATE, &text).map_err(BackupError::file(&path))
    }
}

/// Where in the log a segment is, for comparison.
pub(super) fn position(segment: &str) -> Option<&str> {
    let is_segment = segment.len() >= POSITION.end
        && segment.as_bytes()[..POSITION.end]
            .iter()
            .all(u8::is_ascii_hexdigit);
    is_segment.then(|| &segment[POSITION])
}

//! Making a base backup, while everything runs.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::Deserialize;
use tokio_postgres::Client;

use super::{BackupError, Backups, Holds, ProjectFiles, Record, program::Program};
use crate::postgres::{archive::MARK, connect::Target};

/// Directory in a backup for what is not data.
pub(super) const PROJECT: &str = "project";

/// File that `pg_basebackup` writes, with a checksum of each other one.
pub(super) const MANIFEST: &str = "backup_manifest";

/// The part of it that says which of the log of writes the backup needs.
#[derive(Deserialize)]
struct Manifest {
    #[serde(rename = "WAL-Ranges")]
    ranges: Vec<Range>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Range {
    timeline: u32,
    #[serde(rename = "Start-LSN")]
    start: String,
}

impl Backups {
    /// Makes a base backup of the database at `target`, tries it, and removes those that are too many. From then on the log of
    /// writes is kept.
    ///
    /// # Errors
    ///
    /// [`BackupError`]. One that is made and does not stand its trial stays, without a word of a trial in its record; older ones stay,
    /// too.
    pub async fn take(&self, target: &Target, client: &Client) -> Result<Record, BackupError> {
        let made = self.make(target, client).await?;
        let tried = self.attempt(&made).await?;
        self.shelf.prune(self.keep)?;
        Ok(tried)
    }

    async fn make(&self, target: &Target, client: &Client) -> Result<Record, BackupError> {
        let account = &self.premises.options.account;
        self.shelf.prepare(account)?;
        let holds = Holds::of(client).await?;
        let begun = Timestamp::now();
        let incoming = self.shelf.incoming()?;
        let is_first = self.shelf.list()?.is_empty();
        // The log of writes is kept from before the backup on: the segment in which it begins is among it then.
        let mark = self.mark()?;
        let made = self.fill(target, client, holds, begun, &incoming).await;
        if made.is_err() {
            let _ = fs::remove_dir_all(&incoming);
            if is_first {
                // Without a backup it would grow for nothing.
                let _ = fs::remove_file(&mark);
            }
        }
        made
    }

    /// Says that the log of writes is to be kept; the file that says so.
    fn mark(&self) -> Result<PathBuf, BackupError> {
        let pg = &self.premises.pg;
        let mark = self.premises.data.as_ref().unwrap_or(pg).join(MARK);
        let written = self.premises.options.account.write(&mark, b"");
        written.map_err(BackupError::file(&mark))?;
        Ok(mark)
    }

    async fn fill(
        &self,
        target: &Target,
        client: &Client,
        holds: Holds,
        begun: Timestamp,
        incoming: &Path,
    ) -> Result<Record, BackupError> {
        Program::of_postgres(&self.premises.binaries, "pg_basebackup")?
            .env(target.environment())
            .option("--pgdata", incoming)
            .arg("--format=tar")
            .arg("--gzip")
            .arg("--wal-method=stream")
            .arg("--checkpoint=fast")
            .arg("--manifest-checksums=SHA256")
            .arg("--no-password")
            .run()
            .await?;
        // From here on everything is in it. The moment is the server's, as those are that one asks to go back to.
        let now = client.query_one("SELECT clock_timestamp()", &[]).await?;
        self.project.copy(&incoming.join(PROJECT))?;
        let record = Record {
            id: begun.strftime("%Y%m%dT%H%M%SZ").to_string(),
            from: now.get(0),
            nself: env!("CARGO_PKG_VERSION").to_owned(),
            postgres: self.premises.binaries.version().to_string(),
            bytes: size(incoming).map_err(BackupError::file(incoming))?,
            segment: segment(incoming, client).await?,
            holds,
            tried: None,
        };
        record.write(incoming)?;
        self.shelf.place(incoming, &record.id)?;
        Ok(record)
    }
}

impl Holds {
    /// What is in the project's database.
    pub(super) async fn of(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let counted = "
            SELECT count(*), to_regclass('nself.audit_log') IS NOT NULL
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')";
        let tables = client.query_one(counted, &[]).await?;
        let audit_entries = if tables.get(1) {
            let entries = client
                .query_one("SELECT count(*) FROM nself.audit_log", &[])
                .await?;
            entries.get(0)
        } else {
            0
        };
        Ok(Self {
            tables: tables.get(0),
            audit_entries,
        })
    }
}

/// The first segment of the log of writes that the backup needs.
async fn segment(directory: &Path, client: &Client) -> Result<String, BackupError> {
    let path = directory.join(MANIFEST);
    let text = fs::read(&path).map_err(BackupError::file(&path))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|source| BackupError::Damaged {
            path: path.clone(),
            source,
        })?;
    let first = manifest.ranges.iter().min_by_key(|range| range.timeline);
    let Some(first) = first else {
        return Err(BackupError::NotWhole {
            id: directory.display().to_string(),
            what: "its manifest names nothing of the log of writes".to_owned(),
        });
    };
    // The function names the segment on the server's own timeline, which is the backup's.
    let named = client
        .query_one("SELECT pg_walfile_name($1::text::pg_lsn)", &[&first.start])
        .await?;
    Ok(named.get(0))
}

impl ProjectFiles {
    /// Copies what says what the project is, and its secrets, without which sealed values stay sealed.
    fn copy(&self, to: &Path) -> Result<(), BackupError> {
        let secrets = to.join("secrets");
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&secrets);
        made.map_err(BackupError::file(&secrets))?;
        for name in Self::NAMES {
            let from = self.directory.join(name);
            if from.is_file() {
                copy(&from, &to.join(name))?;
            }
        }
        for from in files(&self.secrets())? {
            if let Some(name) = from.file_name() {
                copy(&from, &secrets.join(name))?;
            }
        }
        Ok(())
    }
}

/// The files of a directory; none when it is not there.
pub(super) fn files(directory: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(BackupError::file(directory)(error)),
    };
    let paths = entries.flatten().map(|entry| entry.path());
    Ok(paths.filter(|path| path.is_file()).collect())
}

/// Copies a file for its owner alone, to where there is none.
fn copy(from: &Path, to: &Path) -> Result<(), BackupError> {
    let mut source = fs::File::open(from).map_err(BackupError::file(from))?;
    let copied = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .and_then(|mut target| {
            std::io::copy(&mut source, &mut target)?;
            target.sync_all()
        });
    copied.map_err(BackupError::file(to))
}

fn size(directory: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

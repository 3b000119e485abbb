//! Putting a backup in the place of the data.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use jiff::Timestamp;
use postgres_protocol::escape::{escape_identifier, escape_literal};
use serde_json::json;

use super::{
    BackupError, Backups, Record, Restored,
    take::{PROJECT, files},
    trial::newest,
    workshop::Workshop,
};
use crate::{
    audit,
    postgres::{
        archive::{Archive, recovery_settings},
        cluster::Apart,
        initdb::SUPERUSER,
    },
    whole_file::{PRIVATE, WholeFile},
};

impl Backups {
    /// The newest backup from which everything until `to` can be restored.
    ///
    /// # Errors
    ///
    /// [`BackupError::None`] and [`BackupError::TooEarly`].
    pub fn reaching(&self, to: Option<Timestamp>) -> Result<Record, BackupError> {
        let newest = self.find(None)?;
        let Some(to) = to else { return Ok(newest) };
        let all = self.shelf.list()?;
        match all.iter().find(|record| record.from <= to) {
            Some(record) => Ok(record.clone()),
            None => Err(BackupError::TooEarly {
                to,
                first: all.last().map_or(newest.from, |record| record.from),
            }),
        }
    }

    /// Builds the data as it was at `to`, or as it was at last, and puts it in the place of what there is, which stays beside it. No
    /// server may run.
    ///
    /// # Errors
    ///
    /// [`BackupError`]; the data is as it was then.
    pub async fn restore(
        &self,
        record: &Record,
        to: Option<Timestamp>,
    ) -> Result<Restored, BackupError> {
        let begun = Instant::now();
        if let Some(to) = to.filter(|to| *to < record.from) {
            let first = record.from;
            return Err(BackupError::TooEarly { to, first });
        }
        let _alone = self.premises.alone()?;
        if let Some(pid) = self.premises.running() {
            return Err(BackupError::Running(pid));
        }
        // One that was brought here from another machine belongs to whoever brought it.
        let wal = self.shelf.wal();
        if wal.is_dir() {
            let owned = self.premises.options.account.own_tree(&wal);
            owned.map_err(BackupError::file(&wal))?;
        }
        let workshop = Workshop::new(&self.premises.pg, &self.premises.options.account)?;
        self.unpack(record, &workshop).await?;
        let settings = recovery_settings(&wal, self.premises.data.as_deref(), to);
        // What begins here is a timeline of its own, which later restores have to find in the archive; but not before it has its place:
        // they would follow it also when this fails, and lose what is written on the one before it.
        let server = self
            .recovered(record, &workshop, &Archive::Later, &settings)
            .await?;
        let finished = self.finish(record, to, &server).await;
        server.stop().await?;
        let until = finished?;
        let secrets = self.secrets(record)?;
        let before = self.take_place(&workshop, record)?;
        Ok(Restored {
            backup: record.id.clone(),
            until,
            before,
            secrets: secrets.given,
            other_secrets: secrets.other,
            ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// What has to be in the data before the host starts on it.
    async fn finish(
        &self,
        record: &Record,
        to: Option<Timestamp>,
        server: &Apart,
    ) -> Result<Option<Timestamp>, BackupError> {
        let client = server.connect().await?;
        if to.is_none() {
            self.reached_the_end(record, &client).await?;
        }
        let until = newest(&client).await?;
        let details = json!({"backup": record.id, "to": to, "until": until});
        audit::append_command(&client, "backup.restored", details).await?;
        if self.premises.data.is_some() {
            // The project keeps its secrets, and the password may have been another one when the backup was made.
            let (user, password) = (
                escape_identifier(SUPERUSER),
                escape_literal(&self.project.password),
            );
            client
                .batch_execute(&format!("ALTER ROLE {user} PASSWORD {password}"))
                .await?;
        }
        Ok(until)
    }

    /// In one step, so that at no moment there is no data: a host that finds none makes a new cluster.
    fn take_place(
        &self,
        workshop: &Workshop,
        record: &Record,
    ) -> Result<Option<PathBuf>, BackupError> {
        let pg = &self.premises.pg;
        let new = workshop.data();
        let Some(data) = &self.premises.data else {
            let place = pg.join(self.premises.binaries.version().major.to_string());
            fs::rename(&new, &place).map_err(BackupError::file(&place))?;
            sync(pg)?;
            return Ok(None);
        };
        let stamp = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
        let before = pg.join(format!(".before-{}-{stamp}", record.id));
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        let exchanged =
            rustix::fs::renameat_with(rustix::fs::CWD, &new, rustix::fs::CWD, data, flags);
        exchanged.map_err(|error| BackupError::file(data)(error.into()))?;
        fs::rename(&new, &before).map_err(BackupError::file(&before))?;
        sync(pg)?;
        Ok(Some(before))
    }

    /// Gives the project the secrets of the backup. Where there is data those that are others here stay, as what is sealed in it was
    /// sealed with them; where there is none they were only made for a project that is new.
    fn secrets(&self, record: &Record) -> Result<Secrets, BackupError> {
        let mut secrets = Secrets::default();
        let own = self.project.secrets();
        for from in files(&self.shelf.of(&record.id).join(PROJECT).join("secrets"))? {
            let Some(name) = from.file_name() else {
                continue;
            };
            let to = own.join(name);
            let name = name.to_string_lossy().into_owned();
            let here = if to.exists() { Some(read(&to)?) } else { None };
            let kept = read(&from)?;
            if here.as_ref() == Some(&kept) {
                continue;
            }
            if here.is_some() && self.premises.data.is_some() {
                secrets.other.push(name);
                continue;
            }
            WholeFile::write(&to, PRIVATE, &kept).map_err(BackupError::file(&to))?;
            secrets.given.push(name);
        }
        Ok(secrets)
    }
}

#[derive(Default)]
struct Secrets {
    given: Vec<String>,
    other: Vec<String>,
}

fn read(path: &Path) -> Result<Vec<u8>, BackupError> {
    fs::read(path).map_err(BackupError::file(path))
}

fn sync(directory: &Path) -> Result<(), BackupError> {
    let synced = fs::File::open(directory).and_then(|dir| dir.sync_all());
    synced.map_err(BackupError::file(directory))
}

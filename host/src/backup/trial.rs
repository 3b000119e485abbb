//! Trying a backup: a server is started on it, beside the project's, goes on with the log of writes to its end, and everything is read.

use std::{fs::File, time::Instant};

use jiff::Timestamp;
use tokio_postgres::{Client, Config, NoTls};

use super::{
    BackupError, Backups, Holds, Record, Tried,
    program::Program,
    shelf::position,
    take::{MANIFEST, PROJECT},
    workshop::Workshop,
};
use crate::{
    audit,
    config::secrets::DATABASE_PASSWORD,
    postgres::{
        archive::{Archive, recovery_settings},
        cluster::{Apart, ClusterError},
        server::ServerError,
    },
};

/// Between two looks at a server that recovers.
const STEP: std::time::Duration = std::time::Duration::from_millis(50);

/// File whose presence makes a server that starts go on with the log of writes.
pub(super) const RECOVERY: &str = "recovery.signal";

impl Backups {
    /// Tries a backup and writes down what came of it.
    ///
    /// # Errors
    ///
    /// [`BackupError::NotWhole`] when less is in it than there has to be, and whatever keeps a server from starting on it.
    pub async fn attempt(&self, record: &Record) -> Result<Record, BackupError> {
        let begun = Instant::now();
        let workshop = Workshop::new(&self.premises.pg, &self.premises.options.account)?;
        self.unpack(record, &workshop).await?;
        let settings = recovery_settings(&self.shelf.wal(), None, None);
        let server = self
            .recovered(record, &workshop, &Archive::Off, &settings)
            .await?;
        let looked = async {
            let client = server.connect().await?;
            self.reached_the_end(record, &client).await?;
            look(record, &client).await
        };
        let looked = looked.await;
        server.stop().await?;
        let (until, rows, holds) = looked?;
        // The pages that no query has read: indices, what is dead.
        Program::of_postgres(&self.premises.binaries, "pg_checksums")?
            .account(&self.premises.options.account)
            .arg("--check")
            .option("--pgdata", &workshop.data())
            .run()
            .await?;
        let tried = Tried {
            at: Timestamp::now(),
            until,
            rows,
            holds,
            ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        let record = Record {
            tried: Some(tried),
            ..record.clone()
        };
        record.write(&self.shelf.of(&record.id))?;
        Ok(record)
    }

    /// Unpacks a backup and compares it with its manifest.
    pub(super) async fn unpack(
        &self,
        record: &Record,
        workshop: &Workshop,
    ) -> Result<(), BackupError> {
        let major = self.premises.binaries.version().major;
        if record.postgres.split('.').next() != Some(&major.to_string()) {
            return Err(BackupError::OtherMajor {
                id: record.id.clone(),
                postgres: record.postgres.clone(),
                here: major,
            });
        }
        let account = &self.premises.options.account;
        let from = self.shelf.of(&record.id);
        for (archive, to) in [
            ("base.tar.gz", workshop.data()),
            ("pg_wal.tar.gz", workshop.data().join("pg_wal")),
        ] {
            // The file is opened here: the account of the server may not read backups.
            let path = from.join(archive);
            let file = File::open(&path).map_err(BackupError::file(&path))?;
            Program::of_system("tar")
                .account(account)
                .reads(file)
                .arg("--extract")
                .arg("--gzip")
                .option("--directory", &to)
                .run()
                .await?;
        }
        Program::of_postgres(&self.premises.binaries, "pg_verifybackup")?
            .option("--manifest-path", &from.join(MANIFEST))
            .arg("--quiet")
            .arg(workshop.data())
            .run()
            .await
    }

    /// A server that has gone on with the log of writes as far as `settings` say, and takes writes of its own.
    pub(super) async fn recovered(
        &self,
        record: &Record,
        workshop: &Workshop,
        archive: &Archive,
        settings: &str,
    ) -> Result<Apart, BackupError> {
        let data = workshop.data();
        let signal = data.join(RECOVERY);
        let written = self.premises.options.account.write(&signal, b"");
        written.map_err(BackupError::file(&signal))?;
        let password = self.password_of(record)?;
        let mut server = Apart::start(
            &self.premises,
            workshop.path(),
            data,
            &password,
            archive,
            settings,
        )
        .await
        .map_err(|error| match error {
            // Before it let anybody in.
            ClusterError::Server(ServerError::Exited { quote, .. }) => {
                BackupError::Recovery(last_words(&quote))
            }
            other => other.into(),
        })?;
        let config = server.config();
        tokio::select! {
            () = promoted(&config) => Ok(server),
            said = server.ended() => Err(BackupError::Recovery(last_words(&said))),
        }
    }

    /// Makes sure that the server went on to the end of the log of writes that is kept: where a segment is missing, Postgres takes
    /// what comes before it for all that there is.
    pub(super) async fn reached_the_end(
        &self,
        record: &Record,
        client: &Client,
    ) -> Result<(), BackupError> {
        let Some(end) = self.shelf.end()? else {
            return Ok(());
        };
        let replayed = client
            .query_one("SELECT pg_walfile_name(pg_last_wal_replay_lsn())", &[])
            .await?;
        let replayed: Option<String> = replayed.get(0);
        let reached = replayed.as_deref().and_then(position).unwrap_or_default();
        // The first segment may be the only one, and part of the backup itself.
        let first = position(&record.segment).unwrap_or_default();
        if reached.max(first) < end.as_str() {
            return Err(BackupError::NotWhole {
                id: record.id.clone(),
                what: format!(
                    "the log of writes goes on to {end}, and what comes after {reached} is missing"
                ),
            });
        }
        Ok(())
    }

    /// The superuser's password when the backup was made.
    fn password_of(&self, record: &Record) -> Result<String, BackupError> {
        let kept = self.shelf.of(&record.id).join(PROJECT).join("secrets");
        let path = kept.join(DATABASE_PASSWORD);
        match std::fs::read_to_string(&path) {
            Ok(password) => Ok(password.trim_end_matches('\n').to_owned()),
            // It came from a directory of mounted secrets.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(self.project.password.clone())
            }
            Err(error) => Err(BackupError::file(&path)(error)),
        }
    }
}

/// Why a server ended, of all that it has logged.
fn last_words(log: &str) -> String {
    let grave = |line: &'_ str| {
        let (_, words) = line
            .split_once("FATAL: ")
            .or_else(|| line.split_once("PANIC: "))?;
        // That is what who asks too early is told, and ends nothing but a connection.
        let words = words.trim();
        (!words.starts_with("the database system is ")).then(|| words.to_owned())
    };
    let found = log.lines().rev().find_map(grave);
    found.unwrap_or_else(|| log.to_owned())
}

/// Waits until the server takes writes. One that ends refuses to answer before it has ended, which says nothing yet.
async fn promoted(config: &Config) {
    let asked = async || {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        let asked = client.query_one("SELECT pg_is_in_recovery()", &[]).await?;
        Ok::<bool, tokio_postgres::Error>(asked.get(0))
    };
    while !matches!(asked().await, Ok(false)) {
        tokio::time::sleep(STEP).await;
    }
}

/// The newest write of a recovered server; none when it had nothing to go on with.
pub(super) async fn newest(client: &Client) -> Result<Option<Timestamp>, tokio_postgres::Error> {
    let row = client
        .query_one("SELECT pg_last_xact_replay_timestamp()", &[])
        .await?;
    Ok(row.get(0))
}

/// Reads everything that is there, and compares it with what has to be.
async fn look(
    record: &Record,
    client: &Client,
) -> Result<(Option<Timestamp>, i64, Holds), BackupError> {
    let not_whole = |what: String| BackupError::NotWhole {
        id: record.id.clone(),
        what,
    };
    let holds = Holds::of(client).await?;
    if holds.tables < record.holds.tables || holds.audit_entries < record.holds.audit_entries {
        return Err(not_whole(format!(
            "{} tables and {} entries of the audit log are in it, and there were {} and {}",
            holds.tables, holds.audit_entries, record.holds.tables, record.holds.audit_entries
        )));
    }
    let rows = rows(client).await?;
    if holds.audit_entries > 0
        && let Some(broken) = audit::verify(client, None).await?.first()
    {
        return Err(not_whole(format!(
            "the audit log is broken in {} at {}: {}",
            broken.stream, broken.sequence, broken.problem
        )));
    }
    Ok((newest(client).await?, rows, holds))
}

/// Reads every row of every table, with what is stored apart, and counts them.
async fn rows(client: &Client) -> Result<i64, tokio_postgres::Error> {
    let tables = "
        SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1";
    let mut rows = 0;
    for table in client.query(tables, &[]).await? {
        let table: String = table.get(0);
        // The name is the server's own, quoted by it.
        let read = format!("SELECT count(*), count(hashtext(t::text)) FROM {table} t");
        let read: i64 = client.query_one(&read, &[]).await?.get(0);
        rows += read;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_connection_is_told_is_not_why_the_server_ended() {
        let log = "LOG:  redo done\nFATAL:  recovery ended before configured recovery target was reached\n\
                   FATAL:  the database system is in recovery mode\nLOG:  database system is shut down\n";
        let words = "recovery ended before configured recovery target was reached";
        assert_eq!(last_words(log), words);
        assert_eq!(last_words("LOG:  killed\n"), "LOG:  killed\n");
    }
}

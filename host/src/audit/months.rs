//! The log by the month: partitions ahead of time, seals on what is over, and old months out of the database into files.

use std::path::{Path, PathBuf};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::Serialize;
use tokio_postgres::{Client, Error};
use tracing::info;

use super::{
    archive::{self, ArchiveError},
    export::Selection,
};

/// How long a change of partitions waits for writers before it leaves it for the next time: whoever comes after a waiting
/// change waits with it.
const LOCK_LIMIT: &str = "SET LOCAL lock_timeout = '200ms'";

/// A month that was put away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Archived {
    /// `2026-01`.
    pub month: String,
    /// How many entries it held.
    pub entries: u64,
    /// Where they are now.
    pub file: PathBuf,
}

/// Why a month stays where it is.
#[derive(Debug, thiserror::Error)]
pub enum MonthError {
    /// The file could not be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The database.
    #[error(transparent)]
    Database(#[from] Error),
    /// The file does not hold what was sealed.
    #[error("{}: holds {found} and not the sealed month {month}", file.display())]
    NotTheMonth {
        /// The file.
        file: PathBuf,
        /// The month.
        month: String,
        /// What the file holds.
        found: String,
    },
}

/// Makes the partitions of the coming months and seals the months that are over. Answers the months that it sealed.
///
/// # Errors
///
/// The database's; nothing was changed then. `lock_not_available` when writers held the log all the time: try again later.
pub async fn close(client: &mut Client) -> Result<Vec<Date>, Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(LOCK_LIMIT).await?;
    transaction
        .execute("SELECT nself.prepare_audit()", &[])
        .await?;
    transaction.commit().await?;
    let transaction = client.transaction().await?;
    transaction.batch_execute(LOCK_LIMIT).await?;
    let rows = transaction
        .query("SELECT month FROM nself.seal_audit()", &[])
        .await?;
    transaction.commit().await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Puts away the sealed months before `first_kept`, the oldest first: each is written to `directory`, read back and proved,
/// and only then removed from the database.
///
/// # Errors
///
/// [`MonthError`]; months that were put away before stay so, and the one that failed is still in the database.
pub async fn put_away(
    client: &mut Client,
    first_kept: Date,
    directory: &Path,
) -> Result<Vec<Archived>, MonthError> {
    let mut done = Vec::new();
    let months = client
        .query(
            "SELECT s.month FROM nself.audit_seals s
             WHERE s.month < $1 AND to_regclass('nself.' || nself.audit_partition(s.month)) IS NOT NULL
             ORDER BY s.month",
            &[&first_kept.first_of_month()],
        )
        .await?;
    for row in months {
        let archived = put_away_month(client, row.get(0), directory).await?;
        info!(month = archived.month, entries = archived.entries, file = %archived.file.display(), "audit log: month put away");
        done.push(archived);
    }
    Ok(done)
}

async fn put_away_month(
    client: &mut Client,
    month: Date,
    directory: &Path,
) -> Result<Archived, MonthError> {
    let name = month.strftime("%Y-%m").to_string();
    let file = directory.join(format!("audit-{name}.jsonl"));
    let selection = Selection {
        stream: None,
        since: Some(start_of(month)),
        until: Some(start_of(
            month.last_of_month().tomorrow().unwrap_or(Date::MAX),
        )),
    };
    archive::write(&*client, &selection, &file).await?;
    let proof = archive::prove(client, &file).await?;
    let is_empty = proof.entries == 0;
    if !proof.broken.is_empty() || (!is_empty && proof.month.as_deref() != Some(&name)) {
        return Err(MonthError::NotTheMonth {
            file,
            month: name,
            found: format!(
                "{} entries, {} broken streams",
                proof.entries,
                proof.broken.len()
            ),
        });
    }
    let transaction = client.transaction().await?;
    transaction.batch_execute(LOCK_LIMIT).await?;
    transaction
        .execute("SELECT nself.drop_audit_month($1)", &[&month])
        .await?;
    transaction.commit().await?;
    Ok(Archived {
        month: name,
        entries: proof.entries.unsigned_abs(),
        file,
    })
}

/// The first moment of a day, as the log's partitions count: UTC.
fn start_of(date: Date) -> Timestamp {
    date.to_zoned(TimeZone::UTC)
        .map_or(Timestamp::MAX, |zoned| zoned.timestamp())
}

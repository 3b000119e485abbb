//! Files of entries: written whole or not at all, and proved without the log that they came from.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    pin::pin,
};

use bytes::Bytes;
use futures_util::{SinkExt as _, future::ready};
use serde::Serialize;
use tokio_postgres::{Client, Error, GenericClient};

use super::{
    Broken,
    export::{self, ExportError, Selection},
};
use crate::whole_file::{PRIVATE, WholeFile};

/// Lines are sent to the database in pieces of about this size, bytes.
const PIECE: usize = 256 * 1024;

/// Why a file of entries cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file system.
    #[error("{}: {error}", path.display())]
    File {
        /// Which file or directory.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// The database.
    #[error(transparent)]
    Database(#[from] Error),
    /// A line that is no entry.
    #[error("{} line {line}: {reason}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line of it, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
}

/// What a file of entries turned out to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// How many entries it holds.
    pub entries: i64,
    /// In how many streams.
    pub streams: i64,
    /// The sealed month that it is, exactly; none when it is a part of one, or more than one.
    pub month: Option<String>,
    /// The first broken place of each stream.
    pub broken: Vec<Broken>,
}

/// Writes what `selection` names to `path`, for its owner alone (0600), and says how many entries that are. The file
/// appears when it is whole and on the disk.
///
/// # Errors
///
/// [`ArchiveError`]; there is no file then, and one that was there before is as it was.
pub async fn write(
    client: &impl GenericClient,
    selection: &Selection,
    path: &Path,
) -> Result<u64, ArchiveError> {
    let failed = |error| ArchiveError::File {
        path: path.to_owned(),
        error,
    };
    let path = std::path::absolute(path).map_err(failed)?;
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    let mut file = WholeFile::at(&path, PRIVATE).map_err(failed)?;
    let written = export::lines(client, selection, |piece: Bytes| {
        ready(file.write_all(&piece))
    })
    .await;
    let count = written.map_err(|error| match error {
        ExportError::Database(error) => ArchiveError::Database(error),
        ExportError::Taker(error) => failed(error),
    })?;
    file.place().map_err(failed)?;
    Ok(count)
}

/// Checks the entries of a file: each one's hash, and that each continues the one before it in its stream. Uses a
/// temporary table of `client`, and changes nothing else.
///
/// # Errors
///
/// [`ArchiveError`] when the file cannot be read as entries; what is wrong with entries stands in the [`Proof`].
pub async fn prove(client: &Client, path: &Path) -> Result<Proof, ArchiveError> {
    client
        .batch_execute(
            "DROP TABLE IF EXISTS pg_temp.audit_file;
             CREATE TEMPORARY TABLE audit_file (line bigint GENERATED ALWAYS AS IDENTITY, entry jsonb NOT NULL)",
        )
        .await?;
    load(client, path).await?;
    let row = client.query_one(SUMMARY, &[]).await?;
    let broken = client.query(BROKEN, &[]).await?;
    let broken: Vec<Broken> = broken.iter().map(Broken::from).collect();
    client
        .batch_execute("DROP TABLE pg_temp.audit_file")
        .await?;
    Ok(Proof {
        entries: row.get(0),
        streams: row.get(1),
        // The digest is of the hashes that stand in the file: it says something only where they are true.
        month: row
            .get::<_, Option<String>>(2)
            .filter(|_| broken.is_empty()),
        broken,
    })
}

/// How many entries in how many streams, and the sealed month whose digest theirs is.
const SUMMARY: &str = "
    WITH entries AS (
        SELECT (jsonb_populate_record(NULL::nself.audit_log, f.entry)).* FROM pg_temp.audit_file f
    ), digest AS (
        SELECT
            count(*) AS entries, count(DISTINCT e.stream) AS streams,
            sha256(coalesce(string_agg(e.hash, ''::bytea ORDER BY e.stream, e.sequence), '')) AS digest
        FROM entries e
    )
    SELECT d.entries, d.streams, to_char(s.month, 'YYYY-MM')
    FROM digest d LEFT JOIN nself.audit_seals s ON s.digest = d.digest AND s.entries = d.entries AND d.entries > 0";

/// The first broken place of each stream. Where a stream begins is taken as it is: the file may be a part of it.
const BROKEN: &str = "
    WITH entries AS (
        SELECT (jsonb_populate_record(NULL::nself.audit_log, f.entry)).* FROM pg_temp.audit_file f
    ), links AS (
        SELECT
            e.stream, e.sequence, e.hash, e.previous_hash, nself.audit_hash(e::nself.audit_log) AS true_hash,
            lag(e.sequence) OVER chain AS before, lag(e.hash) OVER chain AS hash_before
        FROM entries e
        WINDOW chain AS (PARTITION BY e.stream ORDER BY e.sequence)
    )
    SELECT DISTINCT ON (l.stream) l.stream, l.sequence,
        CASE
            WHEN l.before <> l.sequence - 1 THEN 'the row before it is missing'
            WHEN l.hash IS DISTINCT FROM l.true_hash THEN 'the row was changed'
            ELSE 'it does not continue the row before it'
        END AS problem
    FROM links l
    WHERE l.hash IS DISTINCT FROM l.true_hash
        OR l.before IS NOT NULL AND (l.before <> l.sequence - 1 OR l.hash_before <> l.previous_hash)
    ORDER BY l.stream, l.sequence";

async fn load(client: &Client, path: &Path) -> Result<(), ArchiveError> {
    let failed = |error| ArchiveError::File {
        path: path.to_owned(),
        error,
    };
    let file = BufReader::new(File::open(path).map_err(failed)?);
    let copy = "COPY pg_temp.audit_file (entry) FROM STDIN (FORMAT text)";
    let sink = client.copy_in::<_, Bytes>(copy).await?;
    let mut sink = pin!(sink);
    let mut piece = Vec::new();
    for (line, text) in (1..).zip(file.lines()) {
        let text = text.map_err(failed)?;
        check_line(path, line, &text)?;
        escape(&text, &mut piece);
        if piece.len() >= PIECE {
            sink.send(std::mem::take(&mut piece).into()).await?;
        }
    }
    sink.send(piece.into()).await?;
    sink.finish().await?;
    Ok(())
}

/// Whether a line can be an entry; the rest is the database's to say.
fn check_line(path: &Path, line: u64, text: &str) -> Result<(), ArchiveError> {
    let wrong = |reason: String| ArchiveError::Line {
        path: path.to_owned(),
        line,
        reason,
    };
    let entry: super::Record = serde_json::from_str(text).map_err(|error| {
        wrong(format!(
            "not an entry of the audit log ({error}): was it written by `nself audit export`?"
        ))
    })?;
    if entry.sequence < 1 {
        return Err(wrong(format!(
            "sequence {}: counted from 1",
            entry.sequence
        )));
    }
    Ok(())
}

/// A value of COPY's text format (PostgreSQL, COPY, Text Format).
fn escape(text: &str, piece: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'\\' => piece.extend_from_slice(b"\\\\"),
            b'\t' => piece.extend_from_slice(b"\\t"),
            b'\r' => piece.extend_from_slice(b"\\r"),
            other => piece.push(other),
        }
    }
    piece.push(b'\n');
}

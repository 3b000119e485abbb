//! Entries as JSON Lines: one entry in a line with all that its hash covers, so that the file can be proved later.

use std::pin::pin;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use tokio_postgres::{Error, GenericClient, types::ToSql};

/// Lines are handed on in pieces of about this size, bytes.
const PIECE: usize = 64 * 1024;

/// What to export: each stream in its order, from its oldest entry on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only one stream.
    pub stream: Option<String>,
    /// Only entries at this moment or later.
    pub since: Option<Timestamp>,
    /// Only entries before this moment.
    pub until: Option<Timestamp>,
}

/// Most entries of a [`part`].
const PART_ENTRIES: i64 = 500;

/// The lines of a stream that follow its entry `after`, as far as one statement brings them, and after which entry the next
/// part begins; none when this is the last. Entries are never changed, so the parts are the whole, and whoever reads them
/// slowly holds no connection meanwhile.
///
/// # Errors
///
/// The database's.
pub async fn part(
    client: &impl GenericClient,
    stream: &str,
    (since, until): (Option<Timestamp>, Option<Timestamp>),
    after: i64,
) -> Result<(Bytes, Option<i64>), Error> {
    let rows = client
        .query(
            "SELECT to_jsonb(a)::text, a.sequence FROM nself.audit_log a
             WHERE a.stream = $1 AND a.sequence > $2 AND ($3::timestamptz IS NULL OR a.at >= $3)
                 AND ($4::timestamptz IS NULL OR a.at < $4)
             ORDER BY a.sequence LIMIT $5",
            &[&stream, &after, &since, &until, &PART_ENTRIES],
        )
        .await?;
    let mut lines = BytesMut::with_capacity(PIECE);
    for row in &rows {
        push_line(&mut lines, row.try_get(0)?);
    }
    let is_full = i64::try_from(rows.len()).is_ok_and(|rows| rows == PART_ENTRIES);
    let last = rows.last().filter(|_| is_full);
    Ok((lines.freeze(), last.map(|row| row.get(1))))
}

fn push_line(lines: &mut BytesMut, line: &str) {
    lines.extend_from_slice(line.as_bytes());
    lines.extend_from_slice(b"\n");
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError<E> {
    /// The database did not go on.
    #[error(transparent)]
    Database(#[from] Error),
    /// Whoever takes the lines did not.
    #[error("{0}")]
    Taker(E),
}

/// Hands all lines to `take`, in pieces that end at the end of a line, and says how many there were. Holds one piece in
/// memory, however long the log is.
///
/// # Errors
///
/// [`ExportError`]; what was taken before is no whole export then.
pub async fn lines<E, F: Future<Output = Result<(), E>>>(
    client: &impl GenericClient,
    selection: &Selection,
    mut take: impl FnMut(Bytes) -> F,
) -> Result<u64, ExportError<E>> {
    let Selection {
        stream,
        since,
        until,
    } = selection;
    let parameters: [&(dyn ToSql + Sync); 3] = [stream, since, until];
    let rows = client
        .query_raw(
            "SELECT to_jsonb(a)::text FROM nself.audit_log a
             WHERE ($1::text IS NULL OR a.stream = $1) AND ($2::timestamptz IS NULL OR a.at >= $2)
                 AND ($3::timestamptz IS NULL OR a.at < $3)
             ORDER BY a.stream, a.sequence",
            parameters,
        )
        .await?;
    let mut rows = pin!(rows);
    let mut piece = BytesMut::with_capacity(PIECE);
    let mut count = 0;
    while let Some(row) = rows.try_next().await? {
        push_line(&mut piece, row.try_get(0)?);
        count += 1;
        if piece.len() >= PIECE {
            take(piece.split().freeze())
                .await
                .map_err(ExportError::Taker)?;
        }
    }
    if !piece.is_empty() {
        take(piece.freeze()).await.map_err(ExportError::Taker)?;
    }
    Ok(count)
}

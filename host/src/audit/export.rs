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
        let line: &str = row.try_get(0)?;
        piece.extend_from_slice(line.as_bytes());
        piece.extend_from_slice(b"\n");
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

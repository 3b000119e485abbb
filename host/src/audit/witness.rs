//! The ends of the chains, kept outside of the database: who rewrites a chain whole, head and all, is found out by what was
//! seen before.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};
use tokio_postgres::{Error, GenericClient};

use super::{Broken, archive::ArchiveError};
use crate::whole_file::{PRIVATE, WholeFile};

/// Where each stream ended when somebody looked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Heads(BTreeMap<String, Head>);

/// Where a stream ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Place of the last entry.
    pub sequence: i64,
    /// Its hash, lower-case hex.
    pub hash: String,
}

impl Heads {
    /// What the database says now.
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn now(client: &impl GenericClient) -> Result<Self, Error> {
        let rows = client
            .query(
                "SELECT stream, sequence, encode(hash, 'hex') FROM nself.audit_heads WHERE sequence > 0",
                &[],
            )
            .await?;
        let head = |row: &tokio_postgres::Row| {
            let head = Head {
                sequence: row.get(1),
                hash: row.get(2),
            };
            (row.get(0), head)
        };
        Ok(Self(rows.iter().map(head).collect()))
    }

    /// How many streams there are.
    #[expect(clippy::len_without_is_empty, reason = "nobody asks for that")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What was seen before; none when there is no such file yet.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`] when the file is no witness.
    pub fn read(path: &Path) -> Result<Option<Self>, ArchiveError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(ArchiveError::File {
                    path: path.to_owned(),
                    error,
                });
            }
        };
        let heads = serde_json::from_str(&text).map_err(|error| ArchiveError::Line {
            path: path.to_owned(),
            line: u64::try_from(error.line()).unwrap_or(u64::MAX),
            reason: format!("not a witness of `nself audit verify` ({error})"),
        })?;
        Ok(Some(heads))
    }

    /// Writes the file anew, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`] when it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), ArchiveError> {
        let text = serde_json::to_vec_pretty(self).expect("texts and numbers are JSON");
        WholeFile::write(path, PRIVATE, &text).map_err(|error| ArchiveError::File {
            path: path.to_owned(),
            error,
        })
    }

    /// The streams of which an entry that was seen is gone or another one now. Entries that were put away with their month
    /// are left to its archive.
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn contradicted(&self, client: &impl GenericClient) -> Result<Vec<Broken>, Error> {
        let (mut streams, mut sequences, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
        for (stream, head) in &self.0 {
            streams.push(stream);
            sequences.push(head.sequence);
            hashes.push(&head.hash);
        }
        let rows = client
            .query(
                "SELECT w.stream, w.sequence,
                     CASE WHEN a.hash IS NULL THEN 'a row that was seen is gone' ELSE 'a row that was seen was changed' END
                 FROM unnest($1::text[], $2::bigint[], $3::text[]) AS w (stream, sequence, hash)
                 LEFT JOIN nself.audit_log a ON a.stream = w.stream AND a.sequence = w.sequence
                 LEFT JOIN nself.audit_anchors n ON n.stream = w.stream
                 WHERE encode(a.hash, 'hex') IS DISTINCT FROM w.hash
                     AND (n.sequence IS NULL OR n.sequence < w.sequence
                         OR n.sequence = w.sequence AND encode(n.hash, 'hex') <> w.hash)
                 ORDER BY w.stream",
                &[&streams, &sequences, &hashes],
            )
            .await?;
        Ok(rows.iter().map(Broken::from).collect())
    }
}

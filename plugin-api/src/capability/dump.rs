//! Archives of the project's database and base backups of its cluster, made by the host with the database's own programs.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::granted;
use crate::{
    cx::Handles,
    error::{Error, Result},
};

/// Makes archives. They lie in a folder of the operator's, which plugins cannot read.
pub struct Dump<'a>(pub(crate) &'a Arc<Handles>);

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DumpOptions {
    /// Its file begins so: at most 32 small letters, digits and underscores. Archives of other names are not touched.
    pub name: String,
    /// How many archives of that name stay, from 1 to 1000, the new one with them.
    pub keep: u32,
    /// Schemas that are left out, as patterns of `pg_dump`.
    pub without_schemas: Vec<String>,
    /// Tables whose rows are left out, as patterns of `pg_dump`; the tables are there.
    pub without_rows: Vec<String>,
}

impl Default for DumpOptions {
    fn default() -> Self {
        Self {
            name: "database".to_owned(),
            keep: 7,
            without_schemas: Vec::new(),
            without_rows: Vec::new(),
        }
    }
}

/// An archive in the custom format of `pg_dump`, which `pg_restore` reads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Archive {
    /// Its file, in the folder of archives.
    pub file: String,
    /// How long it is.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// Tables in it.
    pub tables: u64,
    /// Older archives of the same name that have gone for it.
    pub removed: Vec<String>,
    /// Where it lies once more, as `s3://bucket/key`, if the operator has a bucket for that.
    #[serde(default)]
    pub object: Option<String>,
}

/// A base backup of the private cluster, from which any moment since can be restored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct BaseBackup {
    /// Its id, as `nself backup` takes it.
    pub id: String,
    /// From this moment on everything can be restored.
    pub from: Timestamp,
    /// How long its files are.
    pub bytes: u64,
    /// Rows that were read of it when it was tried.
    pub rows: i64,
}

impl Dump<'_> {
    /// Makes a base backup of the whole private cluster, and starts a server on it that reads everything; older ones go then, as
    /// `backup.keep` says. It lies in the operator's directory of backups, which plugins cannot read. It goes on when the future is
    /// dropped.
    ///
    /// # Errors
    ///
    /// `BACKUP_ELSEWHERE` when the database is not a private cluster of the host's, `BACKUP_BUSY` while another one is made or tried,
    /// `BACKUP_PROGRAM`, `BACKUP_FILE`, `BACKUP_BROKEN` and others when there is none in the end: the host's log says why. Hosts that
    /// know archives alone answer `DUMP_OPTION`.
    pub async fn base_backup(&self) -> Result<BaseBackup> {
        let dump = granted!(self, dump, "nself.dump/1")?;
        let wanted = br#"{"base_backup": {}}"#.as_slice();
        let made = dump.make(wanted.into()).await?;
        serde_json::from_slice(made.as_slice()).map_err(Error::internal)
    }

    /// Makes an archive of the database, and reads all of it back. Only then it has its name, and older ones go. What fails leaves no
    /// file. Dropping the future ends the programs that run.
    ///
    /// # Errors
    ///
    /// `DUMP_OPTION` when it cannot be as it is wanted, `DUMP_UNAVAILABLE` when the programs are not on the host's machine,
    /// `DUMP_FAILED` when one of them fails, or there is no room, `DUMP_UPLOAD` when the operator's bucket did not take it.
    pub async fn make(&self, wanted: &DumpOptions) -> Result<Archive> {
        let dump = granted!(self, dump, "nself.dump/1")?;
        let wanted = serde_json::to_vec(wanted).map_err(Error::internal)?;
        let made = dump.make(wanted.into()).await?;
        serde_json::from_slice(made.as_slice()).map_err(Error::internal)
    }
}

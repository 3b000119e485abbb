//! `nself.dump/1`: archives of the project's database, made by `pg_dump` and read back by `pg_restore`; and base backups of a private
//! cluster, which the host makes and tries as `nself backup create` does.
//!
//! A plugin says when, and what stays; it runs no program and sees no file. The programs get the database in an environment that
//! is made for them and holds nothing else of the host's. An archive has another name until it is whole, was read back and is on
//! the disk, so a host that is killed leaves no half of one; and older ones go only for one that is there.

mod base;
pub mod bucket;
mod programs;
mod shelf;
mod wanted;

use std::{path::PathBuf, pin::pin, sync::Arc, time::Duration};

use futures_util::future::{self, Either};
use nself_plugin_api::abi::{
    bytes::Bytes,
    capability::dump::{Dump, DumpProvider},
    error::Error,
};
use serde_json::json;
use tracing::{info, warn};

use self::{
    bucket::{Bucket, BucketError},
    programs::Programs,
    shelf::Shelf,
    wanted::Wanted,
};
use super::{
    Grant,
    clock::HostClock,
    error::{error, unavailable},
};
use crate::{
    backup::Keeper,
    postgres::{binaries::Search, connect::Target},
};

/// When a dump for which there are no programs may be tried again: somebody may install them.
const RETRY_AFTER_MS: u64 = 60_000;
/// Longest dump, whoever waits for it.
const TIME_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Where archives come from and where they lie. One per host.
pub struct Dumps {
    target: Target,
    search: Search,
    shelf: Shelf,
    bucket: Option<Bucket>,
    keeper: Keeper,
    clock: Arc<dyn HostClock>,
}

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DumpError {
    #[error("{field}: expected {expected}")]
    Wanted {
        field: &'static str,
        expected: &'static str,
    },
    #[error("it does not read: {0}")]
    Form(serde_json::Error),
    #[error(
        "{0} is not on this machine: install PostgreSQL's client programs, or set database.bin_directory"
    )]
    Missing(&'static str),
    #[error("{program}: {told}")]
    Program { program: &'static str, told: String },
    #[error("a file in {directory}", directory = .directory.display())]
    File {
        directory: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{0} cannot be run")]
    Run(&'static str, #[source] std::io::Error),
    #[error("{file} is in the folder of archives, and not in the bucket")]
    Bucket {
        file: String,
        #[source]
        source: BucketError,
    },
    #[error("it takes longer than {} h", TIME_MAX.as_secs() / 3_600)]
    Late,
}

impl From<DumpError> for Error {
    fn from(cause: DumpError) -> Self {
        match cause {
            DumpError::Wanted { .. } | DumpError::Form(_) => {
                error(422, "DUMP_OPTION", format!("the archive: {cause}"), cause)
            }
            DumpError::Missing(program) => unavailable(
                "DUMP_UNAVAILABLE",
                format!("{program} is not on the host's machine"),
                RETRY_AFTER_MS,
                cause,
            ),
            DumpError::Bucket { .. } => error(
                502,
                "DUMP_UPLOAD",
                "the archive is made, and could not be copied into the bucket: the host's log says why",
                chain(&cause),
            ),
            _ => error(
                500,
                "DUMP_FAILED",
                "the database could not be dumped: the host's log says why",
                chain(&cause),
            ),
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl Dumps {
    /// Archives of `target` in the folder `directory`, and once more in `bucket`; `search` says where its programs are. Base backups are
    /// made by `keeper`.
    pub fn new(
        target: Target,
        search: Search,
        directory: PathBuf,
        bucket: Option<Bucket>,
        keeper: Keeper,
        clock: Arc<dyn HostClock>,
    ) -> Self {
        Self {
            target,
            search,
            shelf: Shelf::new(directory, Arc::clone(&clock)),
            bucket,
            keeper,
            clock,
        }
    }

    /// Makes an archive, unless that takes too long.
    async fn make_in_time(&self, wanted: &Wanted) -> Result<Bytes, DumpError> {
        let late = self.clock.sleep(TIME_MAX);
        match future::select(pin!(self.make(wanted)), late).await {
            Either::Left((made, _)) => made,
            Either::Right(_) => Err(DumpError::Late),
        }
    }

    async fn make(&self, wanted: &Wanted) -> Result<Bytes, DumpError> {
        let programs = Programs::find(&self.search, &self.target).await?;
        let in_folder = |source| DumpError::File {
            directory: self.shelf.directory().to_owned(),
            source,
        };
        let turn = self.shelf.turn().await.map_err(in_folder)?;
        let draft = turn.draft(&wanted.name).await.map_err(in_folder)?;
        let written = programs.dump(wanted, draft.path()).await?;
        let tables = programs.read(draft.path()).await?;
        let file = draft.keep().await.map_err(in_folder)?;
        let removed = turn.prune(&wanted.name, &file, wanted.keep).await;
        let object = self.copy(wanted, &file, &written.sha256).await?;
        let made = json!({
            "file": file, "bytes": written.bytes, "sha256": written.sha256, "tables": tables, "removed": removed,
            "object": object,
        });
        Ok(made.to_string().into())
    }

    async fn base_backup(&self, plugin: &str) -> Result<Bytes, Error> {
        match self.keeper.take(format!("plugin:{plugin}")).await {
            Ok(record) => {
                info!(
                    plugin,
                    backup = record.id,
                    "a base backup was made and tried"
                );
                Ok(base::told(&record))
            }
            Err(error) => {
                warn!(plugin, error = %chain(&error), "there is no new base backup");
                Err(error.into())
            }
        }
    }

    /// Copies an archive into the bucket, if there is one; its address there. Older ones go when it is there.
    async fn copy(
        &self,
        wanted: &Wanted,
        file: &str,
        sha256: &str,
    ) -> Result<Option<String>, DumpError> {
        let Some(bucket) = &self.bucket else {
            return Ok(None);
        };
        let path = self.shelf.directory().join(file);
        let put = bucket.put(&path, file, sha256).await;
        let object = put.map_err(|source| DumpError::Bucket {
            file: file.to_owned(),
            source,
        })?;
        if let Err(error) = bucket.prune(&wanted.name, file, wanted.keep).await {
            // The new one is there, which matters more. It is tried again with the next one.
            warn!(
                error = chain(&error),
                "older archives of the database stay in the bucket"
            );
        }
        Ok(Some(object))
    }
}

/// The capability of one plugin.
pub struct DumpCapability {
    dumps: Arc<Dumps>,
    plugin: Arc<str>,
}

impl DumpCapability {
    /// Makes archives with `dumps`.
    pub fn capability(grant: &Grant, dumps: Arc<Dumps>) -> Dump {
        let plugin = Arc::clone(&grant.plugin);
        Dump::new(Arc::new(Self { dumps, plugin }))
    }
}

impl DumpProvider for DumpCapability {
    fn make(&self, wanted: Bytes) -> impl Future<Output = Result<Bytes, Error>> + Send + 'static {
        let (dumps, plugin) = (Arc::clone(&self.dumps), Arc::clone(&self.plugin));
        async move {
            if base::is_asked_for(wanted.as_slice()) {
                return dumps.base_backup(&plugin).await;
            }
            let wanted = Wanted::read(wanted.as_slice())?;
            match dumps.make_in_time(&wanted).await {
                Ok(made) => {
                    info!(
                        plugin = &*plugin,
                        name = wanted.name,
                        "the database was dumped"
                    );
                    Ok(made)
                }
                Err(error) => {
                    warn!(plugin = &*plugin, error = %chain(&error), "the database could not be dumped");
                    Err(error.into())
                }
            }
        }
    }
}

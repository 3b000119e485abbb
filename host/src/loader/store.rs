//! A private copy of every checked plugin, named by its content. Only files in here are ever opened.
//!
//! Why a copy: who overwrites a mapped file kills the process that mapped it, and the loader hands out old code when it
//! is asked for a path that it has seen. In here a path stands for one content for ever.

use std::fs::{self, DirBuilder, DirEntry};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::refusal::{Refusal, StoreFault};
use super::{CheckedPlugin, Sha256, source};
use crate::whole_file::{INCOMING, WholeFile};

/// Readable and executable for the host alone, writable for nobody.
const FILE_MODE: u32 = 0o500;
const SIGNATURE_MODE: u32 = 0o400;
const DIRECTORY_MODE: u32 = 0o700;

/// No copy takes this long: an older one belongs to a host that is gone.
const STALE_AGE: Duration = Duration::from_secs(3600);

/// A checked plugin in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    path: PathBuf,
    repaired: bool,
}

impl Kept {
    /// A copy that the host has kept, for the process that it starts for it.
    pub(crate) fn handed(path: PathBuf) -> Self {
        Self {
            path,
            repaired: false,
        }
    }

    /// Absolute path of the copy.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file with other content, owner or mode stood in its place: somebody or the disk changed the store.
    pub fn repaired(&self) -> bool {
        self.repaired
    }
}

/// Writes a checked plugin to `directory` as `<id>-<version>-<sha256/16>.so`, or finds it there unchanged.
///
/// The copy is complete and on disk before it has its name. A copy that is there already is read again and compared;
/// one that differs is replaced.
///
/// # Errors
///
/// [`Refusal::Store`]; nothing is left behind then.
pub fn keep(directory: &Path, plugin: &CheckedPlugin) -> Result<Kept, Refusal> {
    write(directory, plugin).map_err(|fault| Refusal::Store {
        id: plugin.manifest.id.clone(),
        version: plugin.manifest.version.clone(),
        directory: directory.to_owned(),
        fault,
    })
}

/// Where the copy of a plugin with this id, version and content stands or would stand.
pub fn path_of(directory: &Path, id: &str, version: &semver::Version, sha256: &Sha256) -> PathBuf {
    directory.join(format!("{id}-{version}-{}.so", sha256.short()))
}

fn write(directory: &Path, plugin: &CheckedPlugin) -> Result<Kept, StoreFault> {
    // dlopen searches for names without a slash, and a relative path would follow a change of directory.
    let directory = std::path::absolute(directory).map_err(during("finding the directory"))?;
    make_private(&directory)?;
    let path = path_of(
        &directory,
        &plugin.manifest.id,
        &plugin.manifest.version,
        &plugin.sha256,
    );
    if let Some(signed) = &plugin.signed {
        keep_signature(&path, &signed.text)?;
    }
    let exists = fs::symlink_metadata(&path).is_ok();
    if exists && is_intact(&path, &plugin.bytes) {
        return Ok(Kept {
            path,
            repaired: false,
        });
    }
    sweep(&directory);
    place(&path, &plugin.bytes).map_err(|fault| full_if_full(fault, plugin.bytes.len()))?;
    Ok(Kept {
        path,
        repaired: exists,
    })
}

fn make_private(directory: &Path) -> Result<(), StoreFault> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(directory)
        .map_err(during("creating the directory"))?;
    let metadata = fs::metadata(directory).map_err(during("looking at the directory"))?;
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    let euid = rustix::process::geteuid().as_raw();
    if owner != euid || mode & 0o077 != 0 {
        return Err(StoreFault::NotPrivate { owner, euid, mode });
    }
    Ok(())
}

/// `source::read` also refuses links, foreign owners and files that others may write.
fn is_intact(path: &Path, checked: &[u8]) -> bool {
    source::read(path).is_ok_and(|bytes| bytes == checked)
}

/// Removes what a host that was killed while copying left behind. Best effort: the copy at hand is what matters.
fn sweep(directory: &Path) {
    let is_stale = |entry: &DirEntry| {
        let ours = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(INCOMING.as_bytes());
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|modified| modified.elapsed().ok());
        ours && age.is_some_and(|age| age > STALE_AGE)
    };
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(is_stale) {
        // Another host may have been quicker.
        let _ = fs::remove_file(entry.path());
    }
}

/// The signature lies beside the copy as beside the original: what starts from here is judged as if it came from there.
fn keep_signature(path: &Path, text: &str) -> Result<(), StoreFault> {
    if source::read_signature(path).is_ok_and(|kept| kept.as_deref() == Some(text)) {
        return Ok(());
    }
    WholeFile::write(&source::signature_of(path), SIGNATURE_MODE, text.as_bytes())
        .map_err(during("keeping the signature"))
}

fn place(path: &Path, bytes: &[u8]) -> Result<(), StoreFault> {
    let mut file = WholeFile::at(path, FILE_MODE).map_err(during("creating the copy"))?;
    file.write_all(bytes).map_err(during("writing the copy"))?;
    file.place().map_err(during("flushing the copy"))
}

fn during(doing: &'static str) -> impl Fn(io::Error) -> StoreFault {
    move |source| StoreFault::Io { doing, source }
}

fn full_if_full(fault: StoreFault, bytes: usize) -> StoreFault {
    match fault {
        StoreFault::Io { source, .. }
            if matches!(
                source.kind(),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded
            ) =>
        {
            StoreFault::Full { bytes }
        }
        other => other,
    }
}

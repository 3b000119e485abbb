//! Finding plugin files in a directory that only root or the host's user can write.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;

use super::refusal::{DirectoryFault, FileFault, Refusal};
use super::source::{OTHERS_WRITE, trusted};

/// Most `.so` files that one plugin directory may hold.
pub const PLUGIN_FILES_MAX: usize = 512;

/// What is in a plugin directory.
#[derive(Debug)]
pub struct Discovered {
    /// The `.so` entries in the order of their names, not looked at yet.
    pub files: Vec<PathBuf>,
    /// Entries that could not be listed; the others stand.
    pub refused: Vec<Refusal>,
}

/// Lists the `*.so` entries of a plugin directory. The directory may be reached through a symbolic link, its owner
/// and mode are judged at the end of the link.
///
/// # Errors
///
/// [`DirectoryFault`] when nothing in it can be trusted: then no plugin of it is loaded.
pub fn discover(directory: &Path) -> Result<Discovered, DirectoryFault> {
    let unreadable = |error: Errno| DirectoryFault::Unreadable {
        directory: directory.to_owned(),
        source: error.into(),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let descriptor = rustix::fs::open(directory, flags, Mode::empty()).map_err(unreadable)?;
    let stat = rustix::fs::fstat(&descriptor).map_err(unreadable)?;
    admit(directory, stat.st_uid, stat.st_mode)?;
    list(directory, Dir::new(descriptor).map_err(unreadable)?)
}

fn admit(directory: &Path, owner: u32, mode: u32) -> Result<(), DirectoryFault> {
    let euid = rustix::process::geteuid().as_raw();
    if !trusted(owner, euid) {
        return Err(DirectoryFault::Owner {
            directory: directory.to_owned(),
            owner,
            euid,
        });
    }
    // The sticky bit is no excuse: it stops deleting, not adding.
    if mode & OTHERS_WRITE != 0 {
        return Err(DirectoryFault::Writable {
            directory: directory.to_owned(),
            mode: mode & 0o7777,
        });
    }
    Ok(())
}

fn list(directory: &Path, entries: Dir) -> Result<Discovered, DirectoryFault> {
    let mut found = Discovered {
        files: Vec::new(),
        refused: Vec::new(),
    };
    for entry in entries {
        match entry {
            Ok(entry) => found
                .files
                .extend(plugin_file(directory, entry.file_name().to_bytes())),
            Err(error) => found.refused.push(Refusal::File {
                file: directory.to_owned(),
                fault: FileFault::Read(error.into()),
            }),
        }
        if found.files.len() > PLUGIN_FILES_MAX {
            return Err(DirectoryFault::Crowded {
                directory: directory.to_owned(),
                max: PLUGIN_FILES_MAX,
            });
        }
    }
    found.files.sort();
    Ok(found)
}

/// Hidden names are left alone: a copy in progress has one.
fn plugin_file(directory: &Path, name: &[u8]) -> Option<PathBuf> {
    let is_plugin = name.ends_with(b".so") && !name.starts_with(b".");
    is_plugin.then(|| directory.join(OsStr::from_bytes(name)))
}

//! Secrets on the disk: who may reach their files, and how these are read and written.

use std::{
    fs::{self, DirBuilder, Metadata, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use super::SecretError;
use crate::{
    config::Secret,
    whole_file::{PRIVATE, WholeFile},
};

/// Longest secret that is read, bytes: a PEM key has a few thousand.
const BYTES_MAX: u64 = 64 * 1024;

const ROOT: u32 = 0;

/// The secret in a file, if there is one.
pub(super) fn read(path: &Path) -> Result<Option<Secret>, SecretError> {
    let access = |source| SecretError::Access {
        path: path.to_owned(),
        source,
    };
    // Neither following a link nor blocking on a pipe that somebody put there.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let custom = i32::try_from(flags.bits()).expect("open flags fit an int");
    let file = match OpenOptions::new()
        .read(true)
        .custom_flags(custom)
        .open(path)
    {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(access(error)),
    };
    check_file(path, &file.metadata().map_err(access)?)?;
    let mut value = String::new();
    file.take(BYTES_MAX + 1)
        .read_to_string(&mut value)
        .map_err(access)?;
    if value.len() as u64 > BYTES_MAX {
        return Err(access(ErrorKind::FileTooLarge.into()));
    }
    value.truncate(value.trim_end_matches(['\r', '\n']).len());
    Ok(Some(Secret::new(value)))
}

/// A file with the secret in it, not in its place yet.
pub(super) fn written(path: &Path, secret: &Secret) -> Result<WholeFile, SecretError> {
    let write = || {
        let mut file = WholeFile::at(path, PRIVATE)?;
        file.write_all(secret.expose().as_bytes())?;
        Ok(file)
    };
    write().map_err(|source| SecretError::Access {
        path: path.to_owned(),
        source,
    })
}

/// Names of the files in a directory; none when it is not there.
pub(super) fn names(directory: &Path) -> Result<Vec<String>, SecretError> {
    let access = |source| SecretError::Access {
        path: directory.to_owned(),
        source,
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(access(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(access)?;
        if entry.file_type().map_err(access)?.is_file() {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

/// Makes a directory that only this user can enter, or checks that it is one.
pub fn private_directory(path: &Path) -> Result<(), SecretError> {
    directory(path, 0o077)
}

/// Makes the state directory, or checks that others can neither list nor write it.
///
/// They may pass through: a Postgres that runs as another user has to reach its own directory below.
pub fn own_directory(path: &Path) -> Result<(), SecretError> {
    directory(path, 0o066)
}

fn directory(path: &Path, refused: u32) -> Result<(), SecretError> {
    let access = |source| SecretError::Access {
        path: path.to_owned(),
        source,
    };
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let metadata = fs::metadata(path).map_err(access)?;
            check_private(path, &metadata, refused, 0o700)
        }
        Err(error) => Err(access(error)),
    }
}

/// Checks a directory that others fill: it may be root's, who mounts things, and everybody may list it; nobody else may put
/// files into it.
pub(super) fn check_mounted(path: &Path) -> Result<(), SecretError> {
    let access = |source| SecretError::Access {
        path: path.to_owned(),
        source,
    };
    let metadata = fs::metadata(path).map_err(access)?;
    if !metadata.is_dir() {
        return Err(access(ErrorKind::NotADirectory.into()));
    }
    check_mode(path, &metadata, 0o022, 0o755)?;
    if metadata.uid() == ROOT {
        return Ok(());
    }
    check_owner(path, &metadata)
}

/// Checks that a file with a secret is this user's, and that nobody else can read it.
pub(crate) fn check_file(path: &Path, metadata: &Metadata) -> Result<(), SecretError> {
    check_private(path, metadata, 0o077, 0o600)
}

fn check_private(
    path: &Path,
    metadata: &Metadata,
    refused: u32,
    wanted: u32,
) -> Result<(), SecretError> {
    check_mode(path, metadata, refused, wanted)?;
    check_owner(path, metadata)
}

fn check_mode(
    path: &Path,
    metadata: &Metadata,
    refused: u32,
    wanted: u32,
) -> Result<(), SecretError> {
    let mode = metadata.mode() & 0o777;
    if mode & refused == 0 {
        return Ok(());
    }
    Err(SecretError::Loose {
        path: path.to_owned(),
        mode,
        wanted,
    })
}

fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), SecretError> {
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() == user || user == ROOT {
        return Ok(());
    }
    Err(SecretError::Owner {
        path: path.to_owned(),
        owner: metadata.uid(),
        user,
    })
}

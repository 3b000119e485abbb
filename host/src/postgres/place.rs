//! Where the cluster's files and its socket stand, so that the account that runs the server can reach them.
//!
//! The data belongs under the project (`.nself/pg/<major>`). Two things can forbid that. A host started as root in a
//! directory that only root may enter (`/root/x`): the data then goes to `/var/lib/nself/<name>-<hash>/pg`, and
//! `.nself/pg` becomes a link to it. A path too long for a socket's 107 bytes: the socket then gets a private directory
//! with a short name.

use std::{
    env, fs, io,
    os::unix::{ffi::OsStrExt, fs::DirBuilderExt},
    path::{Path, PathBuf},
};

use super::account::Account;

/// Where data goes that the account could not reach under the project.
pub const ELSEWHERE: &str = "/var/lib/nself";

/// `sockaddr_un` holds 108 bytes with the final zero on Linux and 104 on macOS: the smaller one, so that both work.
const SOCKET_PATH_MAX: usize = 103;

/// Why there is no place.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// A file operation failed.
    #[error("cannot prepare {path} for the embedded PostgreSQL", path = .path.display())]
    Io {
        /// What was to be made or read.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Data is there, but the account cannot get to it any more.
    #[error(
        "PostgreSQL does not run as root, and {account} cannot pass {dir} to reach {path}: run `chmod o+x {dir}`",
        dir = .dir.display(), path = .path.display()
    )]
    Blocked {
        /// Who runs the server.
        account: String,
        /// The directory in the way.
        dir: PathBuf,
        /// What lies behind it.
        path: PathBuf,
    },
}

/// The directory that holds one data directory per major, created when missing.
pub(crate) fn pg_dir(
    data_dir: &Path,
    elsewhere: &Path,
    account: &Account,
) -> Result<PathBuf, PlaceError> {
    let pg = data_dir.join("pg");
    if let Ok(real) = fs::canonicalize(&pg) {
        return reachable(real, account);
    }
    if account.blocked_at(&pg).is_none() {
        account
            .passable_dir(&pg)
            .map_err(|source| io_error(&pg, source))?;
        return Ok(pg);
    }
    let real = project_dir(data_dir, elsewhere)?.join("pg");
    account
        .passable_dir(&real)
        .map_err(|source| io_error(&real, source))?;
    let real = reachable(real, account)?;
    // A link whose target is gone is not replaced: somebody must decide whether the data is lost.
    std::os::unix::fs::symlink(&real, &pg).map_err(|source| io_error(&pg, source))?;
    Ok(real)
}

/// The directory of this project outside of it: root's, passable for the account.
pub(crate) fn project_dir(data_dir: &Path, elsewhere: &Path) -> Result<PathBuf, PlaceError> {
    let project = data_dir
        .parent()
        .and_then(Path::file_name)
        .unwrap_or_default()
        .to_string_lossy();
    let dir = elsewhere.join(format!("{project}-{}", short_hash(data_dir)));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(&dir)
        .map_err(|source| io_error(&dir, source))?;
    Ok(dir)
}

fn reachable(path: PathBuf, account: &Account) -> Result<PathBuf, PlaceError> {
    match account.blocked_at(&path) {
        None => Ok(path),
        Some(dir) => Err(PlaceError::Blocked {
            account: account.to_string(),
            dir,
            path,
        }),
    }
}

/// The socket's directory (0700, the account's).
pub(crate) fn socket_dir(pg: &Path, account: &Account) -> Result<PathBuf, PlaceError> {
    let dir = if fits(&pg.join("run")) {
        pg.join("run")
    } else {
        short_dir(pg, account)
    };
    account
        .private_dir(&dir)
        .map_err(|source| io_error(&dir, source))?;
    Ok(dir)
}

fn short_dir(pg: &Path, account: &Account) -> PathBuf {
    let name = format!("nself-{}-{}", account.uid, short_hash(pg));
    // Root's runtime directory is closed to the account.
    let runtime = env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|_| !account.drops());
    runtime
        .map(|dir| dir.join(&name))
        .filter(|dir| fits(dir) && dir.parent().is_some_and(Path::is_dir))
        .unwrap_or_else(|| Path::new("/tmp").join(name))
}

fn fits(dir: &Path) -> bool {
    dir.as_os_str().len() + "/.s.PGSQL.65535".len() <= SOCKET_PATH_MAX
}

/// Twelve hexadecimal digits that name a path.
fn short_hash(path: &Path) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, path.as_os_str().as_bytes());
    digest.as_ref()[..6]
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn io_error(path: &Path, source: io::Error) -> PlaceError {
    PlaceError::Io {
        path: path.to_owned(),
        source,
    }
}

//! Unpacked programs that the server's account cannot reach: a host started as root under `/root` has them copied.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    account::Account,
    binaries::Binaries,
    place::{self, PlaceError},
};

/// The same programs where `account` can run them. Only our own bundle is copied, and whole: its programs find their
/// libraries by relative paths.
pub(crate) fn reachable(
    binaries: Binaries,
    bundle_dir: Option<&Path>,
    data_dir: &Path,
    elsewhere: &Path,
    account: &Account,
) -> Result<Binaries, PlaceError> {
    let Some(blocked) = account.blocked_at(&binaries.program("postgres")) else {
        return Ok(binaries);
    };
    let bundle_dir = bundle_dir.and_then(|dir| fs::canonicalize(dir).ok());
    let inside = bundle_dir
        .as_deref()
        .and_then(|bundle| Some((bundle, binaries.dir().strip_prefix(bundle).ok()?)));
    let Some((bundle, inside)) = inside else {
        return Err(PlaceError::Blocked {
            account: account.to_string(),
            dir: blocked,
            path: binaries.program("postgres"),
        });
    };
    let copy = place::project_dir(data_dir, elsewhere)?
        .join(format!("postgres-dist-{}", binaries.version()));
    if !copy.exists() {
        copy_tree(bundle, &copy).map_err(|source| PlaceError::Io {
            path: copy.clone(),
            source,
        })?;
    }
    Ok(binaries.moved(copy.join(inside)))
}

/// Copies beside the place and renames, so that a killed copy is not taken for a whole one.
fn copy_tree(source: &Path, target: &Path) -> io::Result<()> {
    let next = PathBuf::from(format!("{}.next", target.display()));
    if next.exists() {
        fs::remove_dir_all(&next)?;
    }
    run(Command::new("cp").arg("-RP").arg(source).arg(&next))?;
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(&next))?;
    fs::rename(next, target)
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(
        String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    ))
}

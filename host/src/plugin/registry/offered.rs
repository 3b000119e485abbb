//! A plugin file from elsewhere on its way into the plugin directory: written under a hidden name, then renamed.

use std::{
    fs::{File, Permissions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use super::{ChangeError, Registry};

/// Start of the name while it is on its way; discovery passes over hidden names.
const INCOMING: &str = ".incoming-";

/// Readable for all, writable for the host: what discovery takes.
const FILE_MODE: u32 = 0o644;

/// A whole copy in the plugin directory that has no name there yet. Dropped, it is gone.
pub(super) struct Incoming {
    temporary: NamedTempFile,
    target: PathBuf,
}

impl Incoming {
    /// Writes `bytes` beside `target`.
    pub(super) fn new(target: PathBuf, bytes: &[u8]) -> Result<Self, ChangeError> {
        let written = || {
            let mut temporary = tempfile::Builder::new()
                .prefix(INCOMING)
                .permissions(Permissions::from_mode(FILE_MODE))
                .tempfile_in(directory_of(&target))?;
            // The mask of the process may have taken bits away.
            let file = temporary.as_file();
            file.set_permissions(Permissions::from_mode(FILE_MODE))?;
            temporary.write_all(bytes)?;
            temporary.as_file().sync_all()?;
            Ok(temporary)
        };
        match written() {
            Ok(temporary) => Ok(Self { temporary, target }),
            Err(source) => Err(refused(&target, source)),
        }
    }

    /// Gives it its name, in the place of what had it.
    pub(super) fn place(self) -> Result<(), ChangeError> {
        let Self { temporary, target } = self;
        temporary
            .persist(&target)
            .map_err(|error| refused(&target, error.error))?;
        // The name is on disk only when the directory is.
        File::open(directory_of(&target))
            .and_then(|directory| directory.sync_all())
            .map_err(|source| refused(&target, source))
    }
}

fn directory_of(target: &Path) -> &Path {
    target.parent().unwrap_or(Path::new("."))
}

fn refused(target: &Path, source: std::io::Error) -> ChangeError {
    ChangeError::Place {
        path: target.display().to_string(),
        source,
    }
}

impl Registry {
    /// Where the file of a plugin lies, or would.
    pub(super) fn place_of(&self, id: &str) -> Result<PathBuf, ChangeError> {
        match self.file(id) {
            Ok(checked) => return Ok(checked.path.clone()),
            Err(ChangeError::NoFile { .. }) => {}
            // Two files of one id: neither is the one to replace.
            Err(error) => return Err(error),
        }
        let path = self.directory.join(format!("{id}.so"));
        if path.symlink_metadata().is_ok() {
            let path = path.display();
            return Err(ChangeError::Order(format!(
                "{path} is not the plugin {id}: move it away first"
            )));
        }
        Ok(path)
    }
}

//! A plugin file from elsewhere on its way into the plugin directory: written under a hidden name, then renamed.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use super::{ChangeError, Registry};
use crate::whole_file::{PUBLIC, WholeFile};

/// A whole copy in the plugin directory that has no name there yet. Dropped, it is gone.
pub(super) struct Incoming {
    file: WholeFile,
    target: PathBuf,
}

impl Incoming {
    /// Writes `bytes` beside `target`.
    pub(super) fn new(target: PathBuf, bytes: &[u8]) -> Result<Self, ChangeError> {
        let written = || {
            let mut file = WholeFile::at(&target, PUBLIC)?;
            file.write_all(bytes)?;
            Ok(file)
        };
        match written() {
            Ok(file) => Ok(Self { file, target }),
            Err(source) => Err(refused(&target, source)),
        }
    }

    /// Gives it its name, in the place of what had it.
    pub(super) fn place(self) -> Result<(), ChangeError> {
        let Self { file, target } = self;
        file.place().map_err(|source| refused(&target, source))
    }
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

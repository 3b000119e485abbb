//! A plugin file from elsewhere on its way into the plugin directory: written under a hidden name, then renamed; its signature
//! goes before it.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::{ChangeError, Registry};
use crate::{
    loader::{CheckedPlugin, signature_of},
    whole_file::{PUBLIC, WholeFile},
};

/// A whole copy in the plugin directory that has no name there yet. Dropped, it is gone.
pub(crate) struct Incoming {
    file: WholeFile,
    signature: Option<WholeFile>,
    target: PathBuf,
}

impl Incoming {
    /// Writes a checked file, and its signature if it has one, beside `target`.
    pub(crate) fn new(target: PathBuf, checked: &CheckedPlugin) -> Result<Self, ChangeError> {
        let written = |path: &Path, bytes: &[u8]| -> io::Result<WholeFile> {
            let mut file = WholeFile::at(path, PUBLIC)?;
            file.write_all(bytes)?;
            Ok(file)
        };
        let whole = || -> io::Result<(WholeFile, Option<WholeFile>)> {
            let file = written(&target, &checked.bytes)?;
            let signed = checked.signed.as_ref();
            let signature = signed
                .map(|signed| written(&signature_of(&target), signed.text.as_bytes()))
                .transpose()?;
            Ok((file, signature))
        };
        match whole() {
            Ok((file, signature)) => Ok(Self {
                file,
                signature,
                target,
            }),
            Err(source) => Err(refused(&target, source)),
        }
    }

    /// Gives it its name, in the place of what had it.
    pub(crate) fn place(self) -> Result<(), ChangeError> {
        let Self {
            file,
            signature,
            target,
        } = self;
        let placed = || -> io::Result<()> {
            match signature {
                Some(signature) => signature.place()?,
                // The one of what was there before is of no use to what comes.
                None => remove_if_there(&signature_of(&target))?,
            }
            file.place()
        };
        placed().map_err(|source| refused(&target, source))
    }
}

/// Removes a file that may not be there.
pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
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

//! A plugin on its way to others: one archive with its file for each kind of machine, and what belongs to it.
//!
//! ```text
//! hello-0.1.0/
//!   SHA256SUMS            of everything below, as `sha256sum -c` reads it
//!   SHA256SUMS.minisig    when it is signed
//!   manifest.json         what the plugin declares, as it stands in its files
//!   LICENSE, README.md    as its author has them
//!   sbom.cdx.json         what it was built from: CycloneDX
//!   x86_64-linux/hello.so, x86_64-linux/hello.so.minisig
//! ```

mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod sbom;
mod sums;
mod tar;
mod unpack;

use std::{collections::BTreeMap, io::Write as _};

use flate2::{Compression, GzBuilder};
use semver::Version;

pub use error::ArchiveError;
pub use unpack::{ARCHIVE_BYTES_MAX, Package, UNPACKED_BYTES_MAX, unpack};

use crate::minisign;

/// How the name of an archive ends.
pub const ENDING: &str = ".plugin.tar.gz";
/// The manifest, in an archive.
pub const MANIFEST: &str = "manifest.json";
/// The sums of everything else.
pub const SUMS: &str = "SHA256SUMS";
/// What a plugin was built from.
pub const SBOM: &str = "sbom.cdx.json";

/// What goes into an archive. The same parts make the same bytes.
pub struct Parts {
    /// The plugin's id.
    pub id: String,
    /// Its version.
    pub version: Version,
    /// Contents by name, below the one directory of the archive.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Parts {
    /// Where the file for a kind of machine lies.
    pub fn library(target: &str, id: &str) -> String {
        format!("{target}/{id}.so")
    }

    /// What the archive is called.
    pub fn file_name(&self) -> String {
        format!("{}-{}{ENDING}", self.id, self.version)
    }

    /// The list of sums, which a signature of all of it is of.
    pub fn sums(&self) -> String {
        sums::of(&self.files)
    }

    /// The archive. `signature` is that of [`sums`](Self::sums).
    ///
    /// # Errors
    ///
    /// [`ArchiveError`] when a part cannot be in an archive.
    pub fn archive(&self, signature: Option<String>) -> Result<Vec<u8>, ArchiveError> {
        let root = format!("{}-{}", self.id, self.version);
        let mut files = self.files.clone();
        files.insert(SUMS.to_owned(), self.sums().into_bytes());
        if let Some(signature) = signature {
            let name = format!("{SUMS}.{}", minisign::EXTENSION);
            files.insert(name, signature.into_bytes());
        }
        // Neither name nor time of day in the head: they would make each archive another one.
        let mut gzip = GzBuilder::new()
            .mtime(0)
            .write(Vec::new(), Compression::best());
        for (name, bytes) in &files {
            let head = tar::head(&format!("{root}/{name}"), bytes.len())?;
            for part in [&head[..], bytes, tar::padding(bytes.len())] {
                gzip.write_all(part).map_err(ArchiveError::Write)?;
            }
        }
        gzip.write_all(&tar::END).map_err(ArchiveError::Write)?;
        gzip.finish().map_err(ArchiveError::Write)
    }
}

#[cfg(test)]
mod tests;

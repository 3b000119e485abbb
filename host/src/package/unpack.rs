//! Taking an archive apart in memory: nothing reaches the disk before all of it has been judged.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
};

use flate2::bufread::GzDecoder;
use semver::Version;
use serde::Deserialize;
use serde_json::Value;

use super::{ArchiveError, MANIFEST, Parts, SUMS, sums, tar};
use crate::minisign;

/// Largest archive, in bytes.
pub const ARCHIVE_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// What an archive may unpack to, in bytes: a file of every kind of machine that there is, and more.
pub const UNPACKED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What is in an archive whose sums are right. Whose it is, is another question.
pub struct Package {
    /// The plugin's id.
    pub id: String,
    /// Its version.
    pub version: Version,
    /// What it declares.
    pub manifest: Value,
    /// The contents by name, the list of sums and its signature left out.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The list of sums.
    pub sums: Vec<u8>,
    /// The signature of the list.
    pub signature: Option<String>,
}

/// What of the manifest says which plugin it is.
#[derive(Deserialize)]
struct Head {
    id: String,
    version: Version,
}

impl Package {
    /// The file for a kind of machine, and its signature.
    pub fn library(&self, target: &str) -> Option<(&[u8], Option<&[u8]>)> {
        let name = Parts::library(target, &self.id);
        let signature = format!("{name}.{}", minisign::EXTENSION);
        let signature = self.files.get(&signature).map(Vec::as_slice);
        Some((self.files.get(&name)?, signature))
    }

    /// The kinds of machines that it is for.
    pub fn targets(&self) -> Vec<&str> {
        let ending = format!("/{}.so", self.id);
        let names = self.files.keys();
        names
            .filter_map(|name| name.strip_suffix(&ending))
            .collect()
    }
}

/// Takes an archive apart.
///
/// # Errors
///
/// [`ArchiveError`]: whatever is not just as `nself plugin pack` makes it. Any content is handled.
pub fn unpack(archive: &[u8]) -> Result<Package, ArchiveError> {
    let tape = decompressed(archive)?;
    let mut roots = BTreeSet::new();
    let mut files = BTreeMap::new();
    for entry in tar::entries(&tape)? {
        let Some((root, name)) = entry.name.split_once('/') else {
            return Err(ArchiveError::Name(entry.name));
        };
        roots.insert(root.to_owned());
        files.insert(name.to_owned(), tape[entry.content].to_vec());
    }
    drop(tape);
    let sums = files.remove(SUMS).ok_or(ArchiveError::Missing(SUMS))?;
    let signature = files.remove(&format!("{SUMS}.{}", minisign::EXTENSION));
    sums::check(&files, &sums)?;
    let manifest = files.get(MANIFEST).ok_or(ArchiveError::Missing(MANIFEST))?;
    let manifest: Value = serde_json::from_slice(manifest).map_err(ArchiveError::Manifest)?;
    let Head { id, version } = Head::deserialize(&manifest).map_err(ArchiveError::Manifest)?;
    let expected = format!("{id}-{version}");
    if let Some(found) = roots.into_iter().find(|root| *root != expected) {
        return Err(ArchiveError::Root { found, expected });
    }
    Ok(Package {
        id,
        version,
        manifest,
        files,
        sums,
        signature: signature.map(|text| String::from_utf8_lossy(&text).into_owned()),
    })
}

fn decompressed(archive: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    if archive.len() as u64 > ARCHIVE_BYTES_MAX {
        return Err(ArchiveError::Large(ARCHIVE_BYTES_MAX));
    }
    let mut gzip = GzDecoder::new(archive);
    let mut tape = Vec::new();
    (&mut gzip)
        .take(UNPACKED_BYTES_MAX + 1)
        .read_to_end(&mut tape)
        .map_err(ArchiveError::Gzip)?;
    if tape.len() as u64 > UNPACKED_BYTES_MAX {
        return Err(ArchiveError::Bomb(UNPACKED_BYTES_MAX));
    }
    if gzip.into_inner().is_empty() {
        Ok(tape)
    } else {
        Err(ArchiveError::Trailing)
    }
}

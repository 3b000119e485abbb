//! `SHA256SUMS`: a line for each file, as `sha256sum` writes and checks them.

use std::collections::BTreeMap;

use super::ArchiveError;
use crate::loader::Sha256;

/// The list of these files.
pub(super) fn of(files: &BTreeMap<String, Vec<u8>>) -> String {
    let lines = files
        .iter()
        .map(|(name, bytes)| format!("{}  {name}\n", Sha256::of(bytes)));
    lines.collect()
}

/// Compares files with a list: each is on it, and each that is on it is there.
pub(super) fn check(files: &BTreeMap<String, Vec<u8>>, list: &[u8]) -> Result<(), ArchiveError> {
    let text = str::from_utf8(list).map_err(|_| ArchiveError::Sums(1))?;
    let mut listed = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let (sum, name) = line.split_once("  ").ok_or(ArchiveError::Sums(number))?;
        let sum: Sha256 = sum.parse().map_err(|_| ArchiveError::Sums(number))?;
        if listed.insert(name, sum).is_some() {
            return Err(ArchiveError::Twice(name.to_owned()));
        }
    }
    for (name, bytes) in files {
        match listed.remove(name.as_str()) {
            None => return Err(ArchiveError::Unlisted(name.clone())),
            Some(sum) if sum != Sha256::of(bytes) => {
                return Err(ArchiveError::Differs(name.clone()));
            }
            Some(_) => {}
        }
    }
    match listed.into_keys().next() {
        Some(name) => Err(ArchiveError::Absent(name.to_owned())),
        None => Ok(()),
    }
}

//! The newest serial that was seen of each catalogue: who hands out an older index wants somebody to install what was mended since.

use std::{collections::BTreeMap, fs, io, path::Path};

use crate::whole_file::{PUBLIC, WholeFile};

/// Why an index is refused, or its serial not kept.
#[derive(Debug, thiserror::Error)]
pub enum SeenError {
    /// It is older than one that was seen.
    #[error(
        "it is older (serial {found}) than the one that was seen before (serial {seen}): somebody hands out an old one"
    )]
    Older {
        /// Its serial.
        found: u64,
        /// The newest that was seen.
        seen: u64,
    },
    /// The file of serials does not read or write.
    #[error("the serials that were seen cannot be kept ({0})")]
    Kept(#[source] io::Error),
}

/// Compares the serial of the index at `place` with what was seen, and keeps it in `file`.
///
/// # Errors
///
/// [`SeenError`].
pub fn note(file: &Path, place: &str, serial: u64) -> Result<(), SeenError> {
    let mut seen: BTreeMap<String, u64> = match fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| SeenError::Kept(io::Error::other(error)))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(SeenError::Kept(error)),
    };
    match seen.get(place) {
        Some(before) if *before > serial => Err(SeenError::Older {
            found: serial,
            seen: *before,
        }),
        Some(before) if *before == serial => Ok(()),
        _ => {
            seen.insert(place.to_owned(), serial);
            let text = serde_json::to_vec_pretty(&seen).unwrap_or_default();
            if let Some(directory) = file.parent() {
                fs::create_dir_all(directory).map_err(SeenError::Kept)?;
            }
            WholeFile::write(file, PUBLIC, &text).map_err(SeenError::Kept)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_index_is_refused_and_a_newer_one_is_kept() {
        let home = tempfile::tempdir().expect("a directory");
        let file = home.path().join("state/catalogues.json");
        note(&file, "one", 5).expect("the first");
        note(&file, "one", 5).expect("the same");
        note(&file, "other", 1).expect("of another place");
        note(&file, "one", 7).expect("a newer one");
        let older = note(&file, "one", 6).expect_err("an older one");
        assert!(matches!(older, SeenError::Older { found: 6, seen: 7 }));
        fs::write(&file, "damaged").expect("written");
        assert!(matches!(note(&file, "one", 8), Err(SeenError::Kept(_))));
    }
}

//! Why an archive is refused.

use std::io;

/// Why an archive cannot be made, or is not one that is taken apart. Nothing of it has been written then.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// More bytes than an archive may have.
    #[error("it has more than {0} bytes")]
    Large(u64),
    /// More bytes than an archive may hold.
    #[error("it unpacks to more than {0} bytes")]
    Bomb(u64),
    /// More files than an archive may hold.
    #[error("it holds more than {0} files")]
    Crowded(usize),
    /// It is no gzip, or cut off.
    #[error("it does not unpack ({0}): it is damaged, or not whole")]
    Gzip(#[source] io::Error),
    /// Something follows its end.
    #[error("something follows its end")]
    Trailing,
    /// The tape archive in it contradicts itself.
    #[error("its contents are damaged ({0})")]
    Damaged(&'static str),
    /// An entry that is no file.
    #[error("it holds {kind} ({name:?}): only plain files are taken")]
    Kind {
        /// What it is.
        kind: &'static str,
        /// What it is called.
        name: String,
    },
    /// A name that leads elsewhere, or that a file of an archive does not have.
    #[error("it holds a file with the name {0:?}, which leads elsewhere or is none of an archive")]
    Name(String),
    /// Two files of one name.
    #[error("it holds {0:?} twice")]
    Twice(String),
    /// A file that every archive has is missing.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// The list of sums does not read.
    #[error("line {0} of its SHA256SUMS is no sum")]
    Sums(usize),
    /// A file is not what the list says.
    #[error("{0:?} is not what SHA256SUMS says")]
    Differs(String),
    /// A file is not on the list.
    #[error("{0:?} is not in SHA256SUMS")]
    Unlisted(String),
    /// A file of the list is not there.
    #[error("{0:?} of SHA256SUMS is not there")]
    Absent(String),
    /// The manifest does not say what plugin it is.
    #[error("its manifest.json does not read ({0})")]
    Manifest(#[source] serde_json::Error),
    /// The directory in it has another name than the plugin.
    #[error("it holds the directory {found:?}, and its manifest says {expected:?}")]
    Root {
        /// What it is called.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A part could not be compressed.
    #[error("it cannot be written ({0})")]
    Write(#[source] io::Error),
}

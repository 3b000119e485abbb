//! The index itself.

use std::collections::BTreeMap;

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::loader::{Sha256, one_line};

/// Largest index, in bytes.
pub const INDEX_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The only shape that this host reads.
const SCHEMA: u32 = 1;

/// All that a catalogue has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// The shape of the document, 1.
    pub schema: u32,
    /// Grows by one with each publication: an older index is told from a newer one by it.
    pub serial: u64,
    /// After this the index is not believed any more, so that nobody is kept on an old one for ever; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The plugins by id.
    pub plugins: BTreeMap<String, PluginEntry>,
}

/// A plugin of a catalogue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginEntry {
    /// What it does.
    #[serde(default)]
    pub description: String,
    /// Its versions, in any order.
    pub versions: Vec<Release>,
}

/// One version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Which one.
    pub version: Version,
    /// Where the archive lies; relative to the index.
    pub url: String,
    /// The archive's hash.
    pub sha256: Sha256,
    /// Its size.
    pub bytes: u64,
    /// The boundary that it was built for.
    pub abi: Abi,
    /// The kinds of machines that it is for.
    pub targets: Vec<String>,
    /// The public key that its files are signed with, if they are: a promise; what counts is the signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// Withdrawn by its author: only who names the version gets it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub yanked: bool,
}

/// Which hosts a version runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abi {
    /// Must be the host's.
    pub major: u32,
    /// The host must speak at least this.
    pub needs: u32,
}

/// Why an index is not believed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// It does not read.
    #[error("it is no index of plugins ({0})")]
    Form(String),
    /// A newer host wrote it.
    #[error("its schema is {0}, this host reads {SCHEMA}: upgrade nself")]
    Schema(u32),
    /// Its time is over.
    #[error("it expired at {0}: ask who publishes it for a newer one")]
    Expired(Timestamp),
}

impl Index {
    /// Reads an index that is to be believed at `now`.
    ///
    /// # Errors
    ///
    /// [`IndexError`].
    pub fn read(bytes: &[u8], now: Timestamp) -> Result<Self, IndexError> {
        #[derive(Deserialize)]
        struct Head {
            schema: u32,
        }
        let form = |error: serde_json::Error| IndexError::Form(one_line(&error.to_string()));
        // The schema first: a newer one may not read as this one does.
        let Head { schema } = serde_json::from_slice(bytes).map_err(form)?;
        if schema != SCHEMA {
            return Err(IndexError::Schema(schema));
        }
        let index: Self = serde_json::from_slice(bytes).map_err(form)?;
        match index.expires {
            Some(expires) if expires <= now => Err(IndexError::Expired(expires)),
            _ => Ok(index),
        }
    }
}

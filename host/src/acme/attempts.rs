//! What was tried in vain, in a file: a host that is started again and again asks no more often than one that runs, and `nself doctor` knows why
//! there is no certificate.

use std::{fs, io};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::AcmeSettings;
use crate::{
    config::secrets::SecretError,
    whole_file::{PRIVATE, WholeFile},
};

/// After so many failures a start is no reason to try at once: before, somebody may just have mended something.
const TRIED_AT_START: u32 = 3;

/// Attempts in a row that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// The names that were to be certified.
    pub(super) domains: Vec<String>,
    /// How many.
    pub(super) failures: u32,
    /// When the last one was.
    pub(super) at: Timestamp,
    /// When the next one may be.
    pub(super) next: Timestamp,
    /// What was wrong, and what to do.
    pub(super) problem: String,
}

impl Attempts {
    /// Those of these settings; nothing when there were none, or the last one was for other names. A file that does not read counts for none.
    pub fn of(settings: &AcmeSettings) -> Option<Self> {
        let text = fs::read(settings.attempts_file()).ok()?;
        let attempts: Self = serde_json::from_slice(&text).ok()?;
        (attempts.domains == settings.domains).then_some(attempts)
    }

    /// When the last one was.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// What was wrong with it, and what to do.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// When a host that starts may try.
    pub(super) fn next_at_start(&self, now: Timestamp) -> Timestamp {
        if self.failures < TRIED_AT_START {
            now
        } else {
            self.next
        }
    }

    pub(super) fn write(&self, settings: &AcmeSettings) -> Result<(), SecretError> {
        let path = settings.attempts_file();
        let text = serde_json::to_vec(self).map_err(io::Error::from);
        let written = text.and_then(|text| WholeFile::write(&path, PRIVATE, &text));
        written.map_err(|source| SecretError::Access { path, source })
    }

    /// Forgets them.
    pub(super) fn forget(settings: &AcmeSettings) {
        // One that stays makes the next start wait at worst.
        let _ = fs::remove_file(settings.attempts_file());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_a_reason_to_try_until_it_was_in_vain_often() {
        let at = |second| Timestamp::from_second(second).expect("a moment");
        let attempts = |failures| Attempts {
            domains: Vec::new(),
            failures,
            at: at(1000),
            next: at(2000),
            problem: String::new(),
        };
        for (failures, next) in [(1, 1500), (2, 1500), (3, 2000), (9, 2000)] {
            assert_eq!(
                attempts(failures).next_at_start(at(1500)),
                at(next),
                "{failures}"
            );
        }
    }
}

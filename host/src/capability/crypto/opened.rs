//! Key pairs that have been opened lately: to open and parse one costs more than to sign with it.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::digest::{Context, SHA256};

use super::{CryptoError, key::KeyPair};

/// Key pairs that are kept, over all plugins.
const OPENED_MAX: usize = 64;

/// The cache; the least recently used goes first.
#[derive(Default)]
pub(super) struct Opened(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    uses: u64,
    pairs: HashMap<[u8; 32], (Arc<KeyPair>, u64)>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

impl Opened {
    /// The pair in `sealed`, which `open` opens if it is not there.
    pub(super) fn pair(
        &self,
        plugin: &str,
        sealed: &[u8],
        open: impl FnOnce() -> Result<KeyPair, CryptoError>,
    ) -> Result<Arc<KeyPair>, CryptoError> {
        let name = name(plugin, sealed);
        if let Some(pair) = self.with(|entries| entries.find(&name)) {
            return Ok(pair);
        }
        let pair = Arc::new(open()?);
        self.with(|entries| entries.keep(name, pair.clone()));
        Ok(pair)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Entries) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Entries {
    fn find(&mut self, name: &[u8; 32]) -> Option<Arc<KeyPair>> {
        self.uses += 1;
        let (pair, used) = self.pairs.get_mut(name)?;
        *used = self.uses;
        Some(pair.clone())
    }

    fn keep(&mut self, name: [u8; 32], pair: Arc<KeyPair>) {
        if self.pairs.len() >= OPENED_MAX {
            let oldest = self
                .pairs
                .iter()
                .min_by_key(|(_, (_, used))| *used)
                .map(|(name, _)| *name);
            oldest.map(|name| self.pairs.remove(&name));
        }
        self.pairs.insert(name, (pair, self.uses));
    }
}

/// Plugin and sealed key in one digest: a plugin must not find what another has opened.
fn name(plugin: &str, sealed: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in [plugin.as_bytes(), b"\0", sealed] {
        context.update(part);
    }
    context
        .finish()
        .as_ref()
        .try_into()
        .expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::{super::key::Algorithm, *};

    fn open() -> Result<KeyPair, CryptoError> {
        KeyPair::generate(Algorithm::EdDsa)
    }

    fn closed() -> Result<KeyPair, CryptoError> {
        Err(CryptoError::SealBroken)
    }

    #[test]
    fn a_pair_is_opened_once_and_for_its_plugin_only() {
        let opened = Opened::default();
        opened
            .pair("notes", b"sealed", closed)
            .expect_err("a failure is passed on, and not kept");
        opened.pair("notes", b"sealed", open).expect("it opens");
        opened.pair("notes", b"sealed", closed).expect("it is open");
        opened
            .pair("mail", b"sealed", closed)
            .expect_err("it is another's");
    }

    #[test]
    fn the_least_recently_used_pair_goes_first() {
        let opened = Opened::default();
        for number in 0..OPENED_MAX {
            opened
                .pair("notes", number.to_string().as_bytes(), open)
                .expect("it opens");
        }
        opened
            .pair("notes", b"0", closed)
            .expect("it is open, and used again");
        opened.pair("notes", b"new", open).expect("it opens");
        opened
            .pair("notes", b"0", closed)
            .expect("it is still open");
        opened
            .pair("notes", b"1", closed)
            .expect_err("it had to go");
        assert_eq!(opened.with(|entries| entries.pairs.len()), OPENED_MAX);
    }
}

//! A key that both stores can hold, in the namespace of its plugin.

use std::sync::Arc;

use super::{KEY_BYTES_MAX, KvError};

/// A checked key and whose it is.
#[derive(Debug, Clone)]
pub struct Key {
    plugin: Arc<str>,
    key: String,
}

impl Key {
    /// The key `key` of `plugin`; `None` is what crosses for text that is not UTF-8.
    ///
    /// # Errors
    ///
    /// [`KvError::KeyInvalid`] when it is empty, not UTF-8 or has a NUL, which Postgres cannot store;
    /// [`KvError::KeyTooLong`].
    pub fn new(plugin: &Arc<str>, key: Option<&str>) -> Result<Self, KvError> {
        let key = key
            .filter(|key| !key.is_empty() && !key.contains('\0'))
            .ok_or(KvError::KeyInvalid)?;
        if key.len() > KEY_BYTES_MAX {
            return Err(KvError::KeyTooLong { bytes: key.len() });
        }
        Ok(Self {
            plugin: plugin.clone(),
            key: key.to_owned(),
        })
    }

    /// The key as Redis has it. A plugin's id has no colon, so no two plugins meet.
    pub(super) fn prefixed(&self) -> String {
        format!("{}:{}", self.plugin, self.key)
    }

    /// Whose key it is.
    pub(super) fn plugin(&self) -> &str {
        &self.plugin
    }

    /// The key without its plugin.
    pub(super) fn name(&self) -> &str {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: Option<&str>, code: &str) {
        let error = Key::new(&"notes".into(), key).expect_err("the key is refused");
        assert_eq!(error.code(), code, "{key:?}");
    }

    #[test]
    fn a_key_that_a_store_could_not_hold_is_refused() {
        check(None, "KV_KEY_INVALID");
        check(Some(""), "KV_KEY_INVALID");
        check(Some("a\0b"), "KV_KEY_INVALID");
        check(Some(&"é".repeat(KEY_BYTES_MAX / 2 + 1)), "KV_KEY_TOO_LONG");
    }

    #[test]
    fn the_longest_key_stands_behind_the_plugins_name() {
        let key = "k".repeat(KEY_BYTES_MAX);
        let located = Key::new(&"notes".into(), Some(&key)).expect("the key is within the limit");
        assert_eq!(located.prefixed(), format!("notes:{key}"));
    }
}

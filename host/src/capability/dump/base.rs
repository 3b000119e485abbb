//! Base backups, for plugins that say when.

use nself_plugin_api::abi::{bytes::Bytes, error::Error};
use serde::Deserialize;
use serde_json::json;

use super::chain;
use crate::{
    backup::{BackupError, Record},
    capability::error::{error, unavailable},
};

/// When a backup may be asked for again while another one is made or tried.
const BUSY_MS: u64 = 60_000;

/// Asks for a base backup instead of an archive.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(rename = "base_backup")]
    _options: Nothing,
}

/// There are no options.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Whether that is what is wanted.
pub(super) fn is_asked_for(wanted: &[u8]) -> bool {
    serde_json::from_slice::<Asked>(wanted).is_ok()
}

/// What the plugin hears of it.
pub(super) fn told(record: &Record) -> Bytes {
    let rows = record.tried.as_ref().map_or(0, |tried| tried.rows);
    let told = json!({"id": record.id, "from": record.from, "bytes": record.bytes, "rows": rows});
    told.to_string().into()
}

impl From<BackupError> for Error {
    fn from(cause: BackupError) -> Self {
        let (code, why) = (cause.code(), cause.to_string());
        match cause {
            BackupError::Elsewhere => error(422, code, why, cause),
            BackupError::Busy => unavailable(code, why, BUSY_MS, cause),
            // The rest may hold paths.
            _ => error(
                500,
                code,
                "there is no new backup: the host's log says why",
                chain(&cause),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_backup_has_no_options() {
        assert!(is_asked_for(br#"{"base_backup": {}}"#));
        for other in [
            "{}",
            r#"{"base_backup": {"keep": 1}}"#,
            r#"{"base_backup": {}, "name": "a"}"#,
            r#"{"base_backup": true}"#,
        ] {
            assert!(!is_asked_for(other.as_bytes()), "{other}");
        }
    }
}

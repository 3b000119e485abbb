//! `/auth/admin`: accounts and what belongs to them, for who runs the installation.
//!
//! An operator may know what no other answer tells: whether an address has an account.

pub(crate) mod apps;
pub(crate) mod audit;
pub(crate) mod devices;
pub(crate) mod families;
pub(crate) mod import;
pub(crate) mod lockouts;
pub(crate) mod providers;
pub(crate) mod sessions;
pub(crate) mod tune;
pub(crate) mod users;

use nself_plugin_api::prelude::*;

/// Most rows of an answer.
const LIMIT_MAX: i64 = 1_000;

/// Rows of an answer when nothing is said.
const LIMIT: i64 = 100;

/// As many rows as were asked for, within reason.
fn limit(asked: Option<i64>) -> i64 {
    asked.unwrap_or(LIMIT).clamp(1, LIMIT_MAX)
}

/// Who acts, as the audit log names them.
pub(super) fn actor(principal: &Principal) -> String {
    format!("operator/{}", principal.subject)
}

/// A text of the query string that says something.
fn said(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

fn no_user() -> Error {
    Error::not_found(
        "USER_NOT_FOUND",
        "there is no such account, or it was deleted",
    )
}

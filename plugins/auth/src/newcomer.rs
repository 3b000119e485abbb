//! What an app says of somebody whose account is about to begin.

use nself_plugin_api::{
    prelude::*,
    serde_json::{Map, Value},
};
use serde::{Deserialize, Serialize};

use crate::account;

/// Most bytes that an app may keep in a person's profile when the account is made.
const PROFILE_BYTES_MAX: usize = 8 * 1024;

/// Each part is good, or is not said: then the place that somebody comes from says it, or the browser.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Newcomer {
    pub(crate) display_name: Option<String>,
    pub(crate) locale: Option<String>,
    /// What the app wants to keep of the person.
    pub(crate) profile: Option<Value>,
}

impl Newcomer {
    /// # Errors
    ///
    /// `DISPLAY_NAME_INVALID`, `LOCALE_INVALID`, `PROFILE_INVALID`.
    pub(crate) fn new(
        display_name: Option<&str>,
        locale: Option<&str>,
        profile: Option<Map<String, Value>>,
    ) -> Result<Self> {
        Ok(Self {
            display_name: display_name.map(account::display_name).transpose()?,
            locale: locale.map(account::locale).transpose()?.map(str::to_owned),
            profile: profile.map(self::profile).transpose()?,
        })
    }
}

/// What an app keeps of a person, if it is small enough to be carried in a link's row.
pub(crate) fn profile(profile: Map<String, Value>) -> Result<Value> {
    let profile = Value::from(profile);
    // Postgres has no NUL in a JSON text.
    let text = profile.to_string();
    if text.len() > PROFILE_BYTES_MAX || text.contains("\\u0000") {
        return Err(Error::invalid(
            "PROFILE_INVALID",
            format!("metadata: expected at most {PROFILE_BYTES_MAX} bytes of JSON, and no NUL"),
        ));
    }
    Ok(profile)
}

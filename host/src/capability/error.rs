//! Errors of capabilities, as they cross to the plugin.

use std::fmt::Display;

use nself_plugin_api::abi::{bytes::Bytes, error::Error};

/// An error for the plugin: `code` is stable, `message` may reach the caller of the plugin, `cause` only the log.
pub fn error(
    status: u32,
    code: &'static str,
    message: impl Into<String>,
    cause: impl Display,
) -> Error {
    Error {
        status,
        code: Bytes::from_static(code.as_bytes()),
        message: message.into().into(),
        cause: cause.to_string().into(),
        ..Error::default()
    }
}

/// A 503 that says when to come back.
pub fn unavailable(
    code: &'static str,
    message: impl Into<String>,
    retry_after_ms: u64,
    cause: impl Display,
) -> Error {
    Error {
        retry_after_ms,
        ..error(503, code, message, cause)
    }
}

/// What a plugin gets for something that its manifest does not ask for, or the operator has not granted.
pub fn denied(code: &'static str, plugin: &str, what: impl Display) -> Error {
    error(
        500,
        code,
        "this plugin lacks a permission",
        format!(
            "plugin {plugin} has not been granted {what}: add it to the manifest's requirements, then `nself plugin grant {plugin}`"
        ),
    )
}

//! The error of the author's API: a status, a stable code, a sentence, and for the log a cause.

use std::{borrow::Cow, fmt, time::Duration};

use serde_json::Value;

use crate::abi;

/// What every fallible call of the API returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that the host turns into `{"error": .., "code": .., "details": ..}`. The cause only reaches the log.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    status: u16,
    code: Cow<'static, str>,
    message: Cow<'static, str>,
    details: Option<Value>,
    retry_after: Option<Duration>,
    cause: Option<String>,
    kind: u32,
}

impl Error {
    /// An error with an HTTP status, a stable upper-snake code and one sentence for the caller.
    pub fn new(
        status: u16,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(Box::new(Inner {
            status,
            code: code.into(),
            message: message.into(),
            details: None,
            retry_after: None,
            cause: None,
            kind: abi::error::KIND_RETURNED,
        }))
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, code, message)
    }

    /// 403: known, and not allowed. What the caller may not see is [`not_found`](Self::not_found).
    pub fn forbidden(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(403, code, message)
    }

    /// 404: not there, or not for this caller to see.
    pub fn not_found(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(404, code, message)
    }

    /// 409: it contradicts what is there.
    pub fn conflict(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(409, code, message)
    }

    /// 422: understood, and not acceptable.
    pub fn invalid(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(422, code, message)
    }

    /// 500: the caller learns nothing but the request id; the log gets the whole chain of `cause`.
    pub fn internal(cause: impl std::error::Error) -> Self {
        let mut text = cause.to_string();
        let mut next = cause.source();
        while let Some(source) = next {
            text.push_str(": ");
            text.push_str(&source.to_string());
            next = source.source();
        }
        Self::new(500, "INTERNAL", "something went wrong on our side").with_cause(text)
    }

    /// 503: not now; come back after `retry_after`.
    pub fn unavailable(
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
        retry_after: Duration,
    ) -> Self {
        Self::new(503, code, message).with_retry_after(retry_after)
    }

    /// Ends a [job](crate::job::Job) at once: no further attempt could succeed. Elsewhere it is a 422 like others.
    pub fn discard(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(422, "JOB_DISCARD", message)
    }

    pub(crate) fn not_granted(capability: &str) -> Self {
        Self::new(500, "CAPABILITY_NOT_GRANTED", "this plugin lacks a capability").with_cause(format!(
            "the plugin uses {capability}, which its manifest does not require or the operator has not granted"
        ))
    }

    /// Adds facts for the caller.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.0.details = Some(details);
        self
    }

    /// Says when it is worth trying again: the answer's `Retry-After`.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.0.retry_after = Some(retry_after);
        self
    }

    /// Adds what only the log may know.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<String>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// Stable code.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// The sentence for the caller.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Facts for the caller.
    pub fn details(&self) -> Option<&Value> {
        self.0.details.as_ref()
    }

    /// When to come back.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// What only the log may know.
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// Whether the other side panicked.
    pub fn is_panic(&self) -> bool {
        self.0.kind == abi::error::KIND_PANIC
    }

    /// SQLSTATE of a statement that Postgres refused, such as `23505` for a unique violation.
    pub fn sqlstate(&self) -> Option<String> {
        self.database("sqlstate")
    }

    /// Name of the constraint that a statement violated.
    pub fn constraint(&self) -> Option<String> {
        self.database("constraint")
    }

    fn database(&self, key: &str) -> Option<String> {
        let cause: Value = serde_json::from_str(self.cause()?).ok()?;
        Some(cause.get(key)?.as_str()?.to_owned())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0.message, self.0.code)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.0.status, self.0.code, self.0.message)?;
        self.0
            .cause
            .as_ref()
            .map_or(Ok(()), |cause| write!(f, ": {cause}"))
    }
}

impl std::error::Error for Error {}

impl From<Error> for abi::error::Error {
    fn from(error: Error) -> Self {
        let Inner {
            status,
            code,
            message,
            details,
            retry_after,
            cause,
            kind,
        } = *error.0;
        Self {
            kind,
            status: status.into(),
            retry_after_ms: retry_after.map_or(0, |after| {
                u64::try_from(after.as_millis()).unwrap_or(u64::MAX)
            }),
            code: text(code),
            message: text(message),
            details: details
                .map(|details| details.to_string().into())
                .unwrap_or_default(),
            cause: cause.map(Into::into).unwrap_or_default(),
        }
    }
}

fn text(text: Cow<'static, str>) -> abi::bytes::Bytes {
    match text {
        Cow::Borrowed(text) => abi::bytes::Bytes::from_static(text.as_bytes()),
        Cow::Owned(text) => text.into(),
    }
}

impl From<abi::error::Error> for Error {
    fn from(error: abi::error::Error) -> Self {
        let filled =
            |bytes: &abi::bytes::Bytes| (!bytes.as_slice().is_empty()).then(|| bytes.to_text());
        Self(Box::new(Inner {
            status: u16::try_from(error.status)
                .ok()
                .filter(|status| *status >= 400)
                .unwrap_or(500),
            code: filled(&error.code).map_or(Cow::Borrowed("INTERNAL"), Cow::Owned),
            message: error.message.to_text().into(),
            details: serde_json::from_slice(error.details.as_slice()).ok(),
            retry_after: (error.retry_after_ms > 0)
                .then(|| Duration::from_millis(error.retry_after_ms)),
            cause: filled(&error.cause),
            kind: error.kind,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_boundary_whole() {
        let error = Error::unavailable("BUSY", "later", Duration::from_secs(2))
            .with_details(serde_json::json!({"queue": 7}))
            .with_cause(r#"{"sqlstate":"23505","constraint":"notes_title_key"}"#);
        let back = Error::from(abi::error::Error::from(error));
        assert_eq!(
            (back.status(), back.code(), back.message()),
            (503, "BUSY", "later")
        );
        assert_eq!(back.retry_after(), Some(Duration::from_secs(2)));
        assert_eq!(back.details(), Some(&serde_json::json!({"queue": 7})));
        assert_eq!(back.sqlstate().as_deref(), Some("23505"));
        assert_eq!(back.constraint().as_deref(), Some("notes_title_key"));
    }
}

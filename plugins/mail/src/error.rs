//! What can be wrong with a mail, and what its caller is told.

use nself_plugin_api::{Error, serde_json::json, uuid::Uuid};

/// Why a mail is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MailError {
    #[error("{field}: {reason}")]
    Address {
        field: &'static str,
        reason: &'static str,
    },
    #[error("subject: {reason}")]
    Subject { reason: &'static str },
    #[error("{reason}")]
    Content { reason: &'static str },
    #[error("idempotency_key: expected 1 to 200 characters")]
    IdempotencyKey,
    #[error("link: expected an address that begins with https:// or http://")]
    Link,
    #[error("there is no template {template:?}")]
    TemplateUnknown { template: String },
    #[error("the template {template:?} needs {}", .missing.join(", "))]
    VariableMissing {
        template: String,
        missing: Vec<String>,
    },
    #[error("the template {template:?} cannot be used: {reason}")]
    TemplateBroken { template: String, reason: String },
    #[error("mail.send/1 has no method {method:?}: it has `send` and `status`")]
    Method { method: String },
    #[error("there is no mail {id}")]
    Unknown { id: Uuid },
    #[error("a mail that was {state} cannot be tried again")]
    NotRetryable { state: String },
    #[error("this address is not on the list")]
    NotSuppressed,
}

impl From<MailError> for Error {
    fn from(error: MailError) -> Self {
        let text = error.to_string();
        match error {
            MailError::Address { field, .. } => {
                Self::invalid("MAIL_ADDRESS", text).with_details(json!({"field": field}))
            }
            MailError::Subject { .. } => Self::invalid("MAIL_SUBJECT", text),
            MailError::Content { .. } => Self::invalid("MAIL_CONTENT", text),
            MailError::IdempotencyKey => Self::invalid("MAIL_IDEMPOTENCY_KEY", text),
            MailError::Link => Self::invalid("MAIL_LINK", text),
            MailError::TemplateUnknown { .. } => Self::invalid("MAIL_TEMPLATE_UNKNOWN", text),
            MailError::VariableMissing { missing, .. } => {
                Self::invalid("MAIL_VARIABLE_MISSING", text)
                    .with_details(json!({"missing": missing}))
            }
            // The template is the operator's, so its fault is not the caller's.
            MailError::TemplateBroken { .. } => {
                Self::new(500, "MAIL_TEMPLATE_BROKEN", "a mail template is broken").with_cause(text)
            }
            MailError::Method { .. } => Self::not_found("MAIL_METHOD", text),
            MailError::Unknown { .. } => Self::not_found("MAIL_NOT_FOUND", text),
            MailError::NotRetryable { .. } => Self::conflict("MAIL_NOT_RETRYABLE", text),
            MailError::NotSuppressed => Self::not_found("MAIL_NOT_SUPPRESSED", text),
        }
    }
}

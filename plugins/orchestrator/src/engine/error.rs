//! Errors of workflows: problem details (RFC 7807) with the types of the standard.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where the standard's types begin.
const TYPES: &str = "https://serverlessworkflow.io/spec/1.0.0/errors/";

/// An error, as a workflow raises, catches and ends with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// What kind of error it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status that fits it best.
    pub status: u16,
    /// JSON pointer of the task that it comes from. The engine writes it; a driver leaves it empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance: String,
    /// In a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What happened here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Error {
    /// An error of one of the standard's types, by the type's last word.
    fn standard(word: &str, status: u16, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("{TYPES}{word}"),
            status,
            instance: String::new(),
            title: Some(title.to_owned()),
            detail: Some(detail.into()),
        }
    }

    /// Something is set up wrongly, or is not supported here.
    pub fn configuration(detail: impl Into<String>) -> Self {
        Self::standard("configuration", 400, "Configuration error", detail)
    }

    /// Data are not what their schema says.
    pub fn validation(detail: impl Into<String>) -> Self {
        Self::standard("validation", 400, "Validation error", detail)
    }

    /// An expression could not be evaluated.
    pub fn expression(detail: impl Into<String>) -> Self {
        Self::standard("expression", 400, "Expression error", detail)
    }

    /// A task could not prove who it is.
    pub fn authentication(detail: impl Into<String>) -> Self {
        Self::standard("authentication", 401, "Authentication error", detail)
    }

    /// A task may not do what it wants.
    pub fn authorization(detail: impl Into<String>) -> Self {
        Self::standard("authorization", 403, "Authorization error", detail)
    }

    /// Something took too long.
    pub fn timeout(detail: impl Into<String>) -> Self {
        Self::standard("timeout", 408, "Timeout", detail)
    }

    /// A call failed, with this status of the other side, 500 when there was no answer.
    pub fn communication(status: u16, detail: impl Into<String>) -> Self {
        Self::standard("communication", status, "Communication error", detail)
    }

    /// The engine or its driver could not go on: a limit, a fault of its own.
    pub fn runtime(detail: impl Into<String>) -> Self {
        Self::standard("runtime", 500, "Runtime error", detail)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = self.title.as_deref().unwrap_or(&self.kind);
        write!(f, "{title} ({}) at {}", self.status, self.instance)?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

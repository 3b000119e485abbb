//! What can be wrong with a schedule, and what its caller is told.

use nself_plugin_api::{Error, serde_json::json};

use crate::error::SpecError;

/// Why a schedule is not taken, or not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScheduleError {
    #[error("there is no schedule {name:?}")]
    Unknown { name: String },
    #[error("there is a schedule {name:?} already")]
    Exists { name: String },
    #[error("{name:?} is kept by {owner}: change it there")]
    Owned { name: String, owner: String },
    #[error("{field}: {problem}")]
    Invalid {
        field: &'static str,
        problem: String,
    },
    #[error("{0}")]
    Spec(SpecError),
    #[error("target: {0}")]
    Target(String),
    #[error("{0}")]
    File(String),
    #[error("{0}")]
    Window(String),
    #[error("schedules that enqueue jobs of the kind {kind:?} are the operators'")]
    Reserved { kind: String },
    #[error("the target of {name:?} cannot be reached: {problem}")]
    Failed { name: String, problem: String },
}

impl ScheduleError {
    pub(crate) fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            problem: problem.into(),
        }
    }

    /// The field of a definition that is wrong.
    pub(crate) fn field(&self) -> &str {
        match self {
            Self::Invalid { field, .. } => field,
            Self::Spec(SpecError { field, .. }) => match *field {
                "time zone" => "zone",
                "end_at" => "end_at",
                _ => "spec",
            },
            Self::Target(_) => "target",
            _ => "name",
        }
    }
}

impl From<SpecError> for ScheduleError {
    fn from(error: SpecError) -> Self {
        Self::Spec(error)
    }
}

impl From<ScheduleError> for Error {
    fn from(error: ScheduleError) -> Self {
        let text = error.to_string();
        match error {
            ScheduleError::Unknown { .. } => Self::not_found("SCHEDULE_NOT_FOUND", text),
            ScheduleError::Exists { .. } => Self::conflict("SCHEDULE_EXISTS", text),
            ScheduleError::Owned { .. } => Self::conflict("SCHEDULE_OWNED", text),
            ScheduleError::Invalid { .. } => Self::invalid("SCHEDULE_INVALID", text),
            ScheduleError::Spec(spec) => Self::invalid("SCHEDULE_SPEC", text)
                .with_details(json!({"field": spec.field, "position": spec.position})),
            ScheduleError::Target(_) => Self::invalid("SCHEDULE_TARGET", text),
            ScheduleError::File(_) => Self::invalid("SCHEDULE_FILE", text),
            ScheduleError::Window(_) => Self::invalid("SCHEDULE_WINDOW", text),
            ScheduleError::Reserved { .. } => Self::new(403, "SCHEDULE_RESERVED", text),
            ScheduleError::Failed { .. } => Self::invalid("SCHEDULE_FAILED", text),
        }
    }
}

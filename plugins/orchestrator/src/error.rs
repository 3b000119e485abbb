//! What can be wrong, and what its caller is told.

use nself_plugin_api::{Error, serde_json::json, uuid::Uuid};

use crate::{config::setting, dsl::Fault};

/// Why a command of a device is not taken, or not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("there is no device {id}")]
    NoDevice { id: Uuid },
    #[error("there is no command {id}")]
    Unknown { id: Uuid },
    #[error("{field}: {problem}")]
    Invalid {
        field: &'static str,
        problem: &'static str,
    },
    #[error("the command is {status} already")]
    Ended { status: String },
    #[error("the key was used for another command of this device")]
    KeyUsed,
    #[error(
        "as many commands of the device wait as {}",
        setting("device_commands_max", max)
    )]
    TooMany { max: u32 },
}

impl From<CommandError> for Error {
    fn from(error: CommandError) -> Self {
        let text = error.to_string();
        match error {
            CommandError::NoDevice { .. } => Self::not_found("COMMAND_DEVICE_NOT_FOUND", text),
            CommandError::Unknown { .. } => Self::not_found("COMMAND_NOT_FOUND", text),
            CommandError::Invalid { .. } => Self::invalid("COMMAND_INVALID", text),
            CommandError::Ended { .. } => Self::conflict("COMMAND_ENDED", text),
            CommandError::KeyUsed => Self::conflict("COMMAND_KEY_USED", text),
            CommandError::TooMany { .. } => Self::new(429, "COMMAND_TOO_MANY", text),
        }
    }
}

/// What is wrong with a workflow, an instance of one, or an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WorkflowError {
    #[error("there is no such workflow")]
    Unknown,
    #[error("there is no such run of a workflow")]
    NoRun,
    #[error("the definition has {}", faults(.0))]
    Invalid(Vec<Fault>),
    #[error("schedule: {0}")]
    Schedule(String),
    #[error(
        "no plugin keeps schedules on this host: enable one that provides scheduler.schedules/1"
    )]
    NoScheduler,
    #[error("{0}")]
    Text(&'static str),
    #[error(
        "namespace, name and version of the address must be those of the definition's document"
    )]
    Name,
    #[error(
        "namespace, name and version of the document must be those that it was registered as: {0}"
    )]
    Registered(String),
    #[error("orchestrator.workflows/1 has no method {0:?}")]
    Method(String),
    #[error("this version has another text already: give the new one another version")]
    Immutable,
    #[error("the key was used for another start of this workflow")]
    KeyUsed,
    #[error("the run is {status} already, or not in a state to do this")]
    Ended { status: String },
    #[error(
        "as many workflows of the family run as {}",
        setting("family_instances_max", max)
    )]
    TooMany { max: u32 },
    #[error("{0}")]
    Event(String),
    #[error("{0}")]
    File(String),
}

/// How many there are, and the first.
fn faults(all: &[Fault]) -> String {
    match all {
        [] => "a fault".to_owned(),
        [one] => format!("a fault: {one}"),
        [first, ..] => format!("{} faults, the first: {first}", all.len()),
    }
}

impl From<WorkflowError> for Error {
    fn from(error: WorkflowError) -> Self {
        let text = error.to_string();
        match error {
            WorkflowError::Unknown => Self::not_found("WORKFLOW_NOT_FOUND", text),
            WorkflowError::NoRun => Self::not_found("WORKFLOW_RUN_NOT_FOUND", text),
            WorkflowError::Invalid(faults) => {
                Self::invalid("WORKFLOW_INVALID", text).with_details(json!({"faults": faults}))
            }
            WorkflowError::Text(_)
            | WorkflowError::Name
            | WorkflowError::Registered(_)
            | WorkflowError::Method(_)
            | WorkflowError::Schedule(_) => Self::invalid("WORKFLOW_INVALID", text),
            WorkflowError::NoScheduler => Self::new(503, "WORKFLOW_NO_SCHEDULER", text),
            WorkflowError::Immutable => Self::conflict("WORKFLOW_IMMUTABLE", text),
            WorkflowError::KeyUsed => Self::conflict("WORKFLOW_KEY_USED", text),
            WorkflowError::Ended { .. } => Self::conflict("WORKFLOW_RUN_STATE", text),
            WorkflowError::TooMany { .. } => Self::new(429, "WORKFLOW_TOO_MANY", text),
            WorkflowError::Event(_) => Self::invalid("WORKFLOW_EVENT_INVALID", text),
            WorkflowError::File(_) => Self::invalid("WORKFLOW_FILE", text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fault_is_not_called_faults() {
        let fault = |name: &str| Fault::new("/do", name, "mend it");
        for (all, expected) in [
            (
                vec![fault("a")],
                "the definition has a fault: /do: a (mend it)",
            ),
            (
                vec![fault("a"), fault("b")],
                "the definition has 2 faults, the first: /do: a (mend it)",
            ),
        ] {
            assert_eq!(WorkflowError::Invalid(all).to_string(), expected);
        }
    }
}

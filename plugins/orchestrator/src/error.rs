//! What can be wrong, and what its caller is told.

use nself_plugin_api::{Error, uuid::Uuid};

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
    #[error("{max} commands of the device wait already")]
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

//! What can be wrong with a job, and what its caller is told.

use nself_plugin_api::{Error, serde_json::Value, uuid::Uuid};

/// Why a job is not taken, or not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    #[error("there is no job {id}")]
    Unknown { id: i64 },
    #[error("there is no queue {name:?}")]
    UnknownQueue { name: String },
    #[error("there is no batch {id}")]
    UnknownBatch { id: Uuid },
    #[error(
        "jobs.queue/1 has no method {method:?}: it has enqueue, enqueue_many, show, cancel, retry, log, progress, batch_open, \
         batch_seal, batch_show, batch_cancel, reserved and queues"
    )]
    Method { method: String },
    #[error("a job that is {state} cannot be {change}")]
    State { state: String, change: &'static str },
    #[error(
        "jobs of the kind {kind:?} are for operators to enqueue, and for their schedules and SQL"
    )]
    Reserved { kind: &'static str },
    #[error("{message}")]
    Option { message: String },
    #[error("{message}")]
    TooLarge { message: String },
    #[error(
        "the queue {queue:?} is worked by hosts: only those with worker = 'pull' are fetched from"
    )]
    QueueOfHosts { queue: String },
    #[error(
        "the lease has expired or the job has ended: somebody else may have it, nothing was changed"
    )]
    LeaseLost,
    #[error("there is no kind {kind:?}")]
    KindNotFound { kind: String },
    #[error(
        "the plugin {plugin:?} works the kind {kind:?}: its manifest says how, and it takes no endpoint"
    )]
    KindDeclared { kind: String, plugin: String },
    #[error("this is no event of Hasura: {problem}")]
    HasuraEvent { problem: String },
    #[error("{field}: expected {expected}")]
    Kind {
        field: &'static str,
        expected: &'static str,
    },
}

impl From<JobError> for Error {
    fn from(error: JobError) -> Self {
        let text = error.to_string();
        match error {
            JobError::Unknown { .. } => Self::not_found("JOB_NOT_FOUND", text),
            JobError::UnknownQueue { .. } => Self::not_found("JOB_QUEUE_NOT_FOUND", text),
            JobError::UnknownBatch { .. } => Self::not_found("JOB_BATCH_NOT_FOUND", text),
            JobError::Method { .. } => Self::not_found("JOB_METHOD", text),
            JobError::State { .. } => Self::conflict("JOB_STATE", text),
            JobError::Reserved { .. } => Self::new(403, "JOB_KIND_RESERVED", text),
            JobError::Option { .. } => Self::invalid("JOB_OPTION", text),
            JobError::TooLarge { .. } => Self::new(413, "JOB_TOO_LARGE", text),
            JobError::QueueOfHosts { .. } => Self::conflict("JOB_QUEUE_NOT_PULL", text),
            JobError::LeaseLost => Self::conflict("JOB_LEASE_LOST", text),
            JobError::KindNotFound { .. } => Self::not_found("JOB_KIND_NOT_FOUND", text),
            JobError::KindDeclared { .. } => Self::conflict("JOB_KIND_DECLARED", text),
            JobError::HasuraEvent { .. } => Self::new(400, "JOB_HASURA_EVENT", text),
            JobError::Kind { .. } => Self::invalid("JOB_KIND_INVALID", text),
        }
    }
}

/// Turns what the SQL functions say of bad input into an answer for the caller; everything else stays as it is.
pub(crate) fn refused(error: Error) -> Error {
    let message = || {
        let cause: Value = nself_plugin_api::serde_json::from_str(error.cause()?).ok()?;
        Some(cause.get("message")?.as_str()?.to_owned())
    };
    match (error.sqlstate().as_deref(), message()) {
        (Some("22023"), Some(message)) => JobError::Option { message }.into(),
        (Some("54000"), Some(message)) => JobError::TooLarge { message }.into(),
        // What JSON may hold and Postgres may not: \u0000, half of a surrogate pair, a number or a depth without end.
        (Some("22P05" | "22P02" | "22021" | "22003" | "54001"), Some(message)) => {
            JobError::Option {
                message: format!("payload or options: {message}"),
            }
            .into()
        }
        _ => error,
    }
}

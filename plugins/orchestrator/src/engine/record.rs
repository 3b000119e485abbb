//! What has happened: the history of tasks, and where the instance stands.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    error::Error,
    need::{Need, NeedId},
};

/// Something that happened to a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// The task, as a JSON pointer.
    pub reference: String,
    /// Its name.
    pub name: String,
    /// Where it ran: the way from the root with iterations and repetitions, one of its kind within the instance.
    pub position: String,
    /// What happened.
    pub status: RecordStatus,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// What came in, when it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// What went out, when it completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
    /// When it started.
    pub started_at: Timestamp,
    /// When this happened.
    pub at: Timestamp,
}

/// What happened to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordStatus {
    /// It started.
    Started,
    /// It ran to its end.
    Completed,
    /// It was not run: its `if` said no.
    Skipped,
    /// An error ended it.
    Faulted,
    /// An error was caught, and it is tried again.
    Retried,
    /// Something else ended it: a timeout around it, a faster branch, the end of the workflow.
    Cancelled,
}

/// What one advance did.
#[derive(Debug, Clone)]
pub struct Progress {
    /// What happened, in order.
    pub records: Vec<TaskRecord>,
    /// What is needed from now on.
    pub opened: Vec<(NeedId, Need)>,
    /// What is needed no more: losers, timeouts, subscriptions that are satisfied. An outcome that still comes is ignored.
    /// A need that was answered is over and stands here no more.
    pub closed: Vec<NeedId>,
    /// Where the instance stands.
    pub status: Status,
}

/// Where an instance stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It can go on at once: advance again.
    Running,
    /// It waits for what it needs.
    Waiting,
    /// It has ended well.
    Completed(Value),
    /// It has ended with an error that nobody caught.
    Faulted(Error),
    /// It was cancelled.
    Cancelled,
}

impl Status {
    /// Whether nothing more can happen.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Running | Self::Waiting)
    }
}

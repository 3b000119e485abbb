//! Where an instance stands, as it is kept.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;

use super::{error::Error, need::NeedId, record::Status};

/// The form of the states that are written here.
pub(super) const VERSION: u16 = 1;
/// The thread that the workflow begins with.
pub(super) const ROOT: u64 = 0;

/// Where an instance stands: all that is needed to go on, on any host, beside the definition.
///
/// It holds no secret: where an expression used one there is a mark, which is replaced when a request is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    #[serde(deserialize_with = "known_version")]
    pub(super) version: u16,
    pub(super) instance: String,
    /// What came in, before anything was done to it.
    pub(super) input: Value,
    pub(super) started_at: Timestamp,
    pub(super) context: Value,
    /// Tasks that have started so far.
    pub(super) tasks: u64,
    /// The next number of a need or a thread.
    pub(super) next: u64,
    /// The thread that made the last step.
    pub(super) turn: u64,
    pub(super) threads: BTreeMap<u64, Thread>,
    pub(super) waits: BTreeMap<NeedId, Wait>,
    /// Needs that the next advance has to open again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) reopen: Vec<NeedId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<Status>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failed: Option<Box<Failed>>,
}

/// Refuses a state of a later host: reading half of it would lose the rest.
fn known_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let version = u16::deserialize(deserializer)?;
    if version > VERSION {
        let message = format!("a state of form {version}; this host reads up to {VERSION}");
        return Err(D::Error::custom(message));
    }
    Ok(version)
}

impl State {
    /// The instance.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// When it started.
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// How it ended, when it has.
    pub fn end(&self) -> Option<&Status> {
        self.end.as_ref()
    }
}

/// One line of execution: the workflow's own, or a branch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Thread {
    /// Lists and tasks, each within the one before.
    pub frames: Vec<Frame>,
    /// Whose branch it is, and which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<(u64, usize)>,
}

impl Thread {
    pub(super) fn tasks(&self) -> impl Iterator<Item = &TaskFrame> {
        self.frames.iter().filter_map(|frame| match frame {
            Frame::Task(task) => Some(task),
            Frame::List(_) => None,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Frame {
    List(ListFrame),
    Task(TaskFrame),
}

/// A list of tasks under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ListFrame {
    pub list: String,
    /// The task to come.
    pub next: usize,
    /// Its raw input.
    pub data: Value,
    /// The way from the root.
    pub path: String,
    /// How often each task has run in this list.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub visits: BTreeMap<usize, u32>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, Value>,
    /// Whether a task left it by `exit`.
    #[serde(default)]
    pub left: bool,
}

/// A task under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct TaskFrame {
    pub task: String,
    pub path: String,
    /// Its raw input.
    pub input: Value,
    /// Its input after `input.from`, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transformed: Option<Value>,
    pub started_at: Timestamp,
    pub attempt: u32,
    pub stage: Stage,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<NeedId>,
    /// The context when it made its request: a branch beside it may change it before the request is asked for again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Value>,
}

impl TaskFrame {
    /// Its input as its definition sees it.
    pub(super) fn input(&self) -> &Value {
        self.transformed.as_ref().unwrap_or(&self.input)
    }
}

/// How far a task is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stage {
    /// Nothing has been done.
    Begin,
    /// The extension with this number runs before it.
    Before(usize),
    /// It waits for its need.
    Waiting(NeedId),
    /// It waits until its event is published.
    Emitting(NeedId, Value),
    /// The list within it runs; what that gives is its output.
    List,
    For {
        items: Vec<Value>,
        index: usize,
    },
    /// The threads of its branches, with the outputs of those that have ended.
    Fork {
        threads: Vec<u64>,
        outputs: Vec<Option<Value>>,
    },
    Trying {
        since: Timestamp,
        limit: Option<NeedId>,
    },
    /// It waits before it tries again.
    Delaying {
        since: Timestamp,
        need: NeedId,
    },
    Catching,
    Listening(Box<Listening>),
    /// The extension with this number runs after it.
    After {
        number: usize,
        output: Value,
        then: Option<String>,
    },
}

/// Events that have come so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Listening {
    pub need: NeedId,
    /// What goes out.
    pub consumed: Vec<Value>,
    /// What waits for its iteration.
    pub queue: Vec<Value>,
    /// Which filters of `all` have had their event.
    pub taken: Vec<bool>,
    /// The same of `until`.
    pub until: Vec<bool>,
    /// Values of correlation keys.
    pub keys: BTreeMap<String, Value>,
    /// Iterations that have begun.
    pub iterations: usize,
    /// The event of the iteration that is under way.
    pub current: Option<Value>,
    /// Whether no event is wanted any more.
    pub done: bool,
}

/// Who waits for a need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Wait {
    pub thread: u64,
    /// The frame within the thread.
    pub frame: usize,
    pub role: Role,
    /// When, of a timer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// What a need is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    /// The task itself.
    Task,
    /// The task's timeout.
    Timeout,
    /// The limit of one attempt.
    Attempt,
    /// The workflow's timeout.
    Deadline,
}

/// How it stood when an error came that nobody caught.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Failed {
    /// The thread whose task failed; none when it was the workflow's time that ended.
    pub thread: Option<u64>,
    pub at: Timestamp,
    pub context: Value,
    pub threads: BTreeMap<u64, Thread>,
    pub waits: BTreeMap<NeedId, Wait>,
    pub error: Error,
}

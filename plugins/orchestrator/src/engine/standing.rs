//! Where an instance stands, for those who look at it: the tasks that are under way, and which of them waits for what.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    need::NeedId,
    state::{Frame, Role, State, TaskFrame, Wait},
};

/// A task that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderWay {
    /// The task, as a JSON pointer.
    pub reference: String,
    /// Its name.
    pub name: String,
    /// Where it runs: the way from the root, with iterations and branches.
    pub position: String,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// When it started.
    pub started_at: Timestamp,
}

/// What somebody waits for a need for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The position of the task; none when it is the workflow's.
    pub position: Option<String>,
    /// `task`: what the task is for. `timeout`, `attempt` and `deadline`: the time that the task, an attempt or the workflow may take.
    pub purpose: &'static str,
}

impl State {
    /// The tasks that are under way, the innermost of each branch.
    pub fn under_way(&self) -> Vec<UnderWay> {
        let innermost = self
            .threads
            .values()
            .filter_map(|thread| thread.tasks().last());
        innermost.map(under_way).collect()
    }

    /// Who waits for each need.
    pub fn waiting(&self) -> BTreeMap<NeedId, Waiting> {
        let all = self.waits.iter();
        all.map(|(need, wait)| (*need, self.waiting_for(wait)))
            .collect()
    }

    fn waiting_for(&self, wait: &Wait) -> Waiting {
        let frame = self
            .threads
            .get(&wait.thread)
            .and_then(|thread| thread.frames.get(wait.frame));
        let (purpose, position) = match (wait.role, frame) {
            (Role::Deadline, _) => ("deadline", None),
            (role, Some(Frame::Task(task))) => (word(role), Some(task.path.clone())),
            (role, _) => (word(role), None),
        };
        Waiting { position, purpose }
    }
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Task => "task",
        Role::Timeout => "timeout",
        Role::Attempt => "attempt",
        Role::Deadline => "deadline",
    }
}

fn under_way(task: &TaskFrame) -> UnderWay {
    let last = task.task.rsplit('/').next().unwrap_or_default();
    UnderWay {
        reference: task.task.clone(),
        name: last.replace("~1", "/").replace("~0", "~"),
        position: task.path.clone(),
        attempt: task.attempt,
        started_at: task.started_at,
    }
}

//! The machine: threads of frames, one step after the other.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::{
    error::Error,
    need::{Need, NeedId, Outcome},
    program::{Node, Program},
    record::{Progress, RecordStatus, Status, TaskRecord},
    secret::Secrets,
    state::{Failed, Frame, ListFrame, Role, Stage, State, TaskFrame, Wait},
    surroundings::Surroundings,
};
use crate::config::setting;

/// Frames that a thread may have: a workflow that calls its own functions without end stops here.
const FRAMES_MAX: usize = 200;

/// One advance of one instance.
pub(super) struct Machine<'m> {
    pub program: &'m Program,
    pub state: &'m mut State,
    pub around: &'m Surroundings<'m>,
    pub secrets: Secrets,
    records: Vec<TaskRecord>,
    opened: Vec<(NeedId, Need)>,
    closed: Vec<NeedId>,
    /// Tasks that completed in this advance.
    completed: u32,
}

impl<'m> Machine<'m> {
    pub(super) fn new(
        program: &'m Program,
        state: &'m mut State,
        around: &'m Surroundings<'m>,
    ) -> Self {
        let secrets = Secrets::read(&program.definition.shared.secrets, around);
        Self {
            program,
            state,
            around,
            secrets,
            records: Vec::new(),
            opened: Vec::new(),
            closed: Vec::new(),
            completed: 0,
        }
    }

    pub(super) fn advance(mut self, outcomes: Vec<(NeedId, Outcome)>) -> Progress {
        if let Some(end) = &self.state.end {
            let status = end.clone();
            return self.progress(status);
        }
        for need in std::mem::take(&mut self.state.reopen) {
            if let Some(asked) = self.need(need) {
                self.opened.push((need, asked));
            }
        }
        for (need, outcome) in outcomes {
            if self.state.end.is_none() {
                self.take(need, outcome);
            }
        }
        let status = self.run();
        self.progress(status)
    }

    /// Steps until the end, a need, the budget or a pause.
    fn run(&mut self) -> Status {
        let mut steps = 0;
        while self.state.end.is_none() {
            let Some(thread) = self.next_thread() else {
                return Status::Waiting;
            };
            let paused = self.around.limits.pause_after_task && self.completed > 0;
            if steps >= self.around.limits.steps || paused {
                return Status::Running;
            }
            steps += 1;
            self.state.turn = thread;
            self.step(thread);
        }
        self.state.end.clone().unwrap_or(Status::Running)
    }

    pub(super) fn cancel(mut self) -> Progress {
        if let Some(end) = &self.state.end {
            let status = end.clone();
            return self.progress(status);
        }
        self.end(Status::Cancelled);
        self.progress(Status::Cancelled)
    }

    fn progress(mut self, status: Status) -> Progress {
        // What was opened and closed in one go was never there.
        let closed = self.closed;
        let (gone, opened): (Vec<_>, Vec<_>) = self
            .opened
            .drain(..)
            .partition(|(need, _)| closed.contains(need));
        let gone: Vec<NeedId> = gone.into_iter().map(|(need, _)| need).collect();
        Progress {
            records: self.records,
            opened,
            closed: closed
                .into_iter()
                .filter(|need| !gone.contains(need))
                .collect(),
            status,
        }
    }

    pub(super) fn needs(self) -> Vec<(NeedId, Need)> {
        let ids: Vec<NeedId> = self.state.waits.keys().copied().collect();
        ids.into_iter()
            .filter_map(|need| Some((need, self.need(need)?)))
            .collect()
    }

    /// The thread whose turn it is: one after the other, wherever an advance has stopped.
    fn next_thread(&self) -> Option<u64> {
        let turn = self.state.turn;
        let after = self.state.threads.range(turn + 1..);
        let all = after.chain(self.state.threads.range(..=turn));
        all.map(|(id, _)| *id).find(|id| self.is_ready(*id))
    }

    fn is_ready(&self, thread: u64) -> bool {
        let Some(thread) = self.state.threads.get(&thread) else {
            return false;
        };
        match thread.frames.last() {
            Some(Frame::Task(task)) => task.stage == Stage::Begin,
            Some(Frame::List(_)) => true,
            None => false,
        }
    }

    fn step(&mut self, thread: u64) {
        let Some(frame) = self
            .state
            .threads
            .get_mut(&thread)
            .and_then(|thread| thread.frames.last_mut())
        else {
            return;
        };
        let list = match frame {
            Frame::Task(_) => {
                let begun = self.begin(thread);
                return self.settle(thread, begun);
            }
            Frame::List(list) => list,
        };
        let tasks = &self.program.lists[&list.list];
        let Some((name, reference)) = tasks.get(list.next) else {
            return self.leave(thread);
        };
        let visits = list.visits.entry(list.next).or_insert(0);
        *visits += 1;
        let path = match *visits {
            1 => format!("{}/{name}", list.path),
            more => format!("{}/{name}#{more}", list.path),
        };
        let task = TaskFrame {
            task: reference.clone(),
            path,
            input: list.data.clone(),
            transformed: None,
            started_at: self.around.now,
            attempt: 1,
            stage: Stage::Begin,
            timeout: None,
            context: None,
        };
        self.frames(thread).push(Frame::Task(task));
        self.state.tasks += 1;
        if self.state.tasks > self.around.limits.tasks_max {
            let limit = setting("history_max", self.around.limits.tasks_max);
            let detail = format!("it has run more tasks than {limit}");
            self.fault(thread, Error::runtime(detail));
        } else if self.frames(thread).len() > FRAMES_MAX {
            let detail =
                format!("tasks are nested deeper than {FRAMES_MAX}, which no setting changes");
            self.fault(thread, Error::runtime(detail));
        }
    }

    /// The list on top has come to its end.
    fn leave(&mut self, thread: u64) {
        let Some(Frame::List(list)) = self.frames(thread).pop() else {
            return;
        };
        if self.frames(thread).is_empty() {
            return self.thread_ended(thread, list.data);
        }
        let returned = self.returned(thread, list);
        self.settle(thread, returned);
    }

    fn thread_ended(&mut self, thread: u64, output: Value) {
        let parent = self
            .state
            .threads
            .get(&thread)
            .and_then(|thread| thread.parent);
        match parent {
            None => self.complete(output),
            Some((parent, branch)) => {
                self.state.threads.remove(&thread);
                self.branch_ended(parent, branch, output);
            }
        }
    }

    /// The workflow has come to its end.
    pub(super) fn complete(&mut self, output: Value) {
        match self.workflow_output(output) {
            Ok(output) => self.end(Status::Completed(output)),
            Err(error) => self.end(Status::Faulted(error)),
        }
    }

    fn end(&mut self, status: Status) {
        let threads: Vec<u64> = self.state.threads.keys().copied().rev().collect();
        for thread in threads {
            self.stop(thread);
        }
        self.closed
            .extend(std::mem::take(&mut self.state.waits).into_keys());
        self.state.threads.clear();
        self.state.reopen.clear();
        self.state.end = Some(status);
    }

    /// Ends a thread and the branches of its tasks.
    pub(super) fn stop(&mut self, thread: u64) {
        self.unwind(thread, 0);
        self.state.threads.remove(&thread);
    }

    /// Takes the frames from `depth` on away; their tasks are cancelled.
    pub(super) fn unwind(&mut self, thread: u64, depth: usize) {
        while self
            .state
            .threads
            .get(&thread)
            .is_some_and(|thread| thread.frames.len() > depth)
        {
            let Some(frame) = self.frames(thread).pop() else {
                break;
            };
            self.close_from(thread, self.depth(thread));
            if let Frame::Task(task) = frame {
                self.stop_branches(&task);
                self.record(&task, RecordStatus::Cancelled, |_| {});
            }
        }
    }

    pub(super) fn stop_branches(&mut self, task: &TaskFrame) {
        if let Stage::Fork { threads, .. } = &task.stage {
            for branch in threads.clone() {
                self.stop(branch);
            }
        }
    }

    /// Closes the needs of the frames from `depth` on.
    pub(super) fn close_from(&mut self, thread: u64, depth: usize) {
        let closed: Vec<NeedId> = self
            .state
            .waits
            .iter()
            .filter(|(_, wait)| {
                wait.role != Role::Deadline && wait.thread == thread && wait.frame >= depth
            })
            .map(|(need, _)| *need)
            .collect();
        for need in closed {
            self.close(need);
        }
    }

    pub(super) fn close(&mut self, need: NeedId) {
        if self.state.waits.remove(&need).is_some() {
            self.closed.push(need);
        }
    }

    /// What a step came to: an error faults the task on top.
    pub(super) fn settle(&mut self, thread: u64, result: Result<(), Error>) {
        if let Err(error) = result {
            self.fault(thread, error);
        }
    }

    /// An error goes up until something catches it.
    pub(super) fn fault(&mut self, thread: u64, mut error: Error) {
        if let (true, Some(task)) = (error.instance.is_empty(), self.top(thread)) {
            error.instance.clone_from(&task.task);
        }
        error.title = error.title.map(|title| self.secrets.seal_text(title));
        error.detail = error.detail.map(|detail| self.secrets.seal_text(detail));
        let before = Failed {
            thread: Some(thread),
            at: self.around.now,
            context: self.state.context.clone(),
            threads: self.state.threads.clone(),
            waits: self.state.waits.clone(),
            error: error.clone(),
        };
        self.raise(thread, error);
        if matches!(self.state.end, Some(Status::Faulted(_))) && self.state.failed.is_none() {
            self.state.failed = Some(Box::new(before));
        }
    }

    fn raise(&mut self, thread: u64, error: Error) {
        let mut error = error;
        while let Some(frame) = self.frames(thread).pop() {
            let Frame::Task(task) = frame else {
                continue;
            };
            let depth = self.depth(thread);
            self.stop_branches(&task);
            if let Stage::Trying { since, limit } = task.stage {
                self.close_from(thread, depth + 1);
                if let Some(limit) = limit {
                    self.close(limit);
                }
                self.frames(thread).push(Frame::Task(task));
                match self.catch(thread, since, &error) {
                    Ok(true) => return,
                    Ok(false) => {}
                    Err(worse) => error = worse,
                }
                if let Some(Frame::Task(task)) = self.frames(thread).pop() {
                    self.close_from(thread, depth);
                    self.record(&task, RecordStatus::Faulted, |record| {
                        record.error = Some(error.clone());
                    });
                }
                continue;
            }
            self.close_from(thread, depth);
            self.record(&task, RecordStatus::Faulted, |record| {
                record.error = Some(error.clone());
            });
        }
        let parent = self
            .state
            .threads
            .get(&thread)
            .and_then(|thread| thread.parent);
        match parent {
            None => self.end(Status::Faulted(error)),
            Some((parent, branch)) => {
                self.state.threads.remove(&thread);
                self.branch_failed(parent, branch, error);
            }
        }
    }

    /// Takes what came of a need.
    fn take(&mut self, need: NeedId, outcome: Outcome) {
        let Some(wait) = self.state.waits.get(&need).cloned() else {
            return;
        };
        let failure = match outcome {
            Outcome::Failed(ref error) => Some(error.clone()),
            _ => None,
        };
        match wait.role {
            Role::Deadline => {
                let detail = "the workflow took longer than its timeout allows";
                let error = Error {
                    instance: "/".to_owned(),
                    ..Error::timeout(detail)
                };
                let failed = Failed {
                    thread: None,
                    at: self.around.now,
                    context: self.state.context.clone(),
                    threads: self.state.threads.clone(),
                    waits: self.state.waits.clone(),
                    error: error.clone(),
                };
                self.end(Status::Faulted(error));
                self.state.failed = Some(Box::new(failed));
            }
            Role::Timeout => {
                self.unwind(wait.thread, wait.frame + 1);
                if let Some(task) = self.top(wait.thread).cloned() {
                    self.stop_branches(&task);
                }
                self.state.waits.remove(&need);
                self.close_from(wait.thread, wait.frame);
                if let Some(task) = self.top_mut(wait.thread) {
                    task.stage = Stage::Begin;
                    task.timeout = None;
                }
                let error = Error::timeout("the task took longer than its timeout allows");
                self.fault(wait.thread, error);
            }
            Role::Attempt => {
                self.state.waits.remove(&need);
                self.unwind(wait.thread, wait.frame + 1);
                let error = Error::timeout("the attempt took longer than its limit allows");
                self.fault(wait.thread, error);
            }
            Role::Task => {
                if let Some(error) = failure {
                    self.state.waits.remove(&need);
                    self.unwind(wait.thread, wait.frame + 1);
                    let instance = String::new();
                    return self.fault(wait.thread, Error { instance, ..error });
                }
                if let Outcome::Event(event) = outcome {
                    let taken = self.consume(wait.thread, wait.frame, event);
                    if taken.is_err() {
                        self.unwind(wait.thread, wait.frame + 1);
                    }
                    return self.settle(wait.thread, taken);
                }
                let taken = self.outcome(wait.thread, need, outcome);
                self.settle(wait.thread, taken);
            }
        }
    }

    // What the tasks use.

    pub(super) fn frames(&mut self, thread: u64) -> &mut Vec<Frame> {
        let thread = self.state.threads.get_mut(&thread);
        &mut thread
            .expect("the thread is there while one of its frames is worked on")
            .frames
    }

    pub(super) fn depth(&self, thread: u64) -> usize {
        self.state
            .threads
            .get(&thread)
            .map_or(0, |thread| thread.frames.len())
    }

    /// The task on top of a thread.
    pub(super) fn top(&self, thread: u64) -> Option<&TaskFrame> {
        match self.state.threads.get(&thread)?.frames.last()? {
            Frame::Task(task) => Some(task),
            Frame::List(_) => None,
        }
    }

    pub(super) fn top_mut(&mut self, thread: u64) -> Option<&mut TaskFrame> {
        match self.state.threads.get_mut(&thread)?.frames.last_mut()? {
            Frame::Task(task) => Some(task),
            Frame::List(_) => None,
        }
    }

    pub(super) fn set_stage(&mut self, thread: u64, stage: Stage) {
        if let Some(task) = self.top_mut(thread) {
            task.stage = stage;
        }
    }

    pub(super) fn node(&self, task: &TaskFrame) -> &'m Node {
        &self.program.tasks[&task.task]
    }

    /// Puts a list on the task on top, which works on it from now on.
    pub(super) fn push_list(
        &mut self,
        thread: u64,
        list: String,
        path: String,
        data: Value,
        variables: BTreeMap<String, Value>,
    ) {
        self.frames(thread).push(Frame::List(ListFrame {
            list,
            next: 0,
            data,
            path,
            visits: BTreeMap::new(),
            variables,
            left: false,
        }));
    }

    pub(super) fn number(&mut self) -> u64 {
        let number = self.state.next;
        self.state.next += 1;
        number
    }

    /// A number for a need of the task on top, which waits for it from now on.
    pub(super) fn wait(&mut self, thread: u64, role: Role, at: Option<Timestamp>) -> NeedId {
        let need = NeedId(self.number());
        let frame = self.depth(thread).saturating_sub(1);
        let wait = Wait {
            thread,
            frame,
            role,
            at,
        };
        self.state.waits.insert(need, wait);
        if let Some(at) = at {
            self.opened.push((need, Need::Timer { at }));
        }
        need
    }

    pub(super) fn open(&mut self, need: NeedId, asked: Need) {
        self.opened.push((need, asked));
    }

    pub(super) fn record(
        &mut self,
        task: &TaskFrame,
        status: RecordStatus,
        fill: impl FnOnce(&mut TaskRecord),
    ) {
        let mut record = TaskRecord {
            reference: task.task.clone(),
            name: self.node(task).name.clone(),
            position: task.path.clone(),
            status,
            attempt: task.attempt,
            input: None,
            output: None,
            error: None,
            started_at: task.started_at,
            at: self.around.now,
        };
        fill(&mut record);
        if status == RecordStatus::Completed {
            self.completed += 1;
        }
        self.records.push(record);
    }
}

//! What each task does, from its beginning to its end.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    data::Scope,
    error::Error,
    machine::Machine,
    need::{Emit, Need, NeedId, Outcome},
    record::RecordStatus,
    state::{Frame, ListFrame, Role, Stage, TaskFrame, Thread},
};
use crate::{config::setting, dsl::Kind};

impl Machine<'_> {
    /// The task on top, or an error of the engine's own.
    fn current(&self, thread: u64) -> Result<TaskFrame, Error> {
        self.top(thread)
            .cloned()
            .ok_or_else(|| Error::runtime("no task is under way"))
    }

    /// Begins the task on top.
    pub(super) fn begin(&mut self, thread: u64) -> Result<(), Error> {
        let (now, attempt) = (self.around.now, self.attempt(thread));
        if let Some(task) = self.top_mut(thread) {
            task.started_at = now;
            task.attempt = task.attempt.max(attempt);
        }
        let frame = self.current(thread)?;
        let node = self.node(&frame);
        let scope = Scope {
            thread: Some(thread),
            task: Some(&frame),
            ..Scope::default()
        };
        if let Some(condition) = &node.task.condition
            && !self.holds(condition, &frame.input, scope)?
        {
            self.record(&frame, RecordStatus::Skipped, |_| {});
            self.frames(thread).pop();
            return self.follow(thread, frame.input, None);
        }
        self.record(&frame, RecordStatus::Started, |record| {
            record.input = Some(frame.input.clone());
        });
        self.validate(&format!("{}/input", frame.task), &frame.input)?;
        let transformed = self.transform(&node.task.input, &frame.input, scope)?;
        if let Some(task) = self.top_mut(thread) {
            task.transformed = transformed;
        }
        if let (Some(timeout), None) = (&node.task.timeout, frame.timeout) {
            let frame = self.current(thread)?;
            let span = self.timeout(timeout, frame.input(), Self::scope(thread, &frame))?;
            let at = self.after(span)?;
            let need = self.wait(thread, Role::Timeout, Some(at));
            if let Some(task) = self.top_mut(thread) {
                task.timeout = Some(need);
            }
        }
        self.extend_before(thread, 0)
    }

    /// What a task's definition sees.
    pub(super) fn scope(thread: u64, frame: &TaskFrame) -> Scope<'_> {
        Scope {
            thread: Some(thread),
            task: Some(frame),
            input: Some(frame.input()),
            ..Scope::default()
        }
    }

    /// The number of the attempt that the innermost `try` around the task on top is at.
    fn attempt(&self, thread: u64) -> u32 {
        let frames = self.state.threads.get(&thread).map(|thread| &thread.frames);
        let trying = |frame: &Frame| match frame {
            Frame::Task(task) if matches!(task.stage, Stage::Trying { .. }) => Some(task.attempt),
            _ => None,
        };
        let mut below = frames.into_iter().flatten().rev().skip(1);
        below.find_map(trying).unwrap_or(1)
    }

    /// Runs the extensions from this number on, then the task itself.
    fn extend_before(&mut self, thread: u64, from: usize) -> Result<(), Error> {
        let frame = self.current(thread)?;
        match self.extension(thread, &frame, from, false, None)? {
            Some((number, list)) => {
                self.set_stage(thread, Stage::Before(number));
                let path = format!("{}/before{number}", frame.path);
                self.push_list(thread, list, path, frame.input().clone(), BTreeMap::new());
                Ok(())
            }
            None => self.perform(thread),
        }
    }

    /// The next extension of a task with something to run before or after it.
    fn extension(
        &self,
        thread: u64,
        frame: &TaskFrame,
        from: usize,
        after: bool,
        output: Option<&Value>,
    ) -> Result<Option<(usize, String)>, Error> {
        let node = self.node(frame);
        if node.extending {
            return Ok(None);
        }
        for (number, extension) in self.program.extensions.iter().enumerate().skip(from) {
            let list = if after {
                &extension.after
            } else {
                &extension.before
            };
            let Some(list) = list else { continue };
            let extends = extension.extend == "all"
                || extension.extend == node.task.kind.word()
                || (extension.extend == "composite" && matches!(node.task.kind, Kind::Fork { .. }));
            if !extends {
                continue;
            }
            let scope = Scope {
                raw_output: output,
                ..Self::scope(thread, frame)
            };
            let applies = match &extension.when {
                Some(condition) => self.holds(condition, frame.input(), scope)?,
                None => true,
            };
            if applies {
                return Ok(Some((number, list.clone())));
            }
        }
        Ok(None)
    }

    /// Does what the task on top does.
    fn perform(&mut self, thread: u64) -> Result<(), Error> {
        let frame = self.current(thread)?;
        let node = self.node(&frame);
        let input = frame.input().clone();
        let scope = Self::scope(thread, &frame);
        let within = |part: &str| format!("{}/{part}", frame.task);
        match &node.task.kind {
            Kind::Set(Value::String(expression)) => {
                let output = self.evaluate(expression, &input, scope)?;
                self.finish(thread, output, None)
            }
            Kind::Set(template) => {
                let output = self.resolve(template, &input, scope)?;
                self.finish(thread, output, None)
            }
            Kind::Do(_) => {
                self.set_stage(thread, Stage::List);
                self.push_list(
                    thread,
                    within("do"),
                    frame.path.clone(),
                    input,
                    BTreeMap::new(),
                );
                Ok(())
            }
            Kind::Switch(cases) => {
                for (_, condition, then) in cases {
                    let holds = match condition {
                        Some(condition) => self.holds(condition, &input, scope)?,
                        None => true,
                    };
                    if holds {
                        return self.finish(thread, input, Some(then.clone()));
                    }
                }
                self.finish(thread, input, None)
            }
            Kind::Wait(span) => {
                let span = self.span(span, &input, scope)?;
                let at = self.after(span)?;
                let need = self.wait(thread, Role::Task, Some(at));
                self.set_stage(thread, Stage::Waiting(need));
                Ok(())
            }
            Kind::Raise(error) => Err(self.raised(error, &input, scope)?),
            Kind::For { collection, .. } => {
                let items = match self.evaluate(collection, &input, scope)? {
                    Value::Array(items) => items,
                    Value::Null => Vec::new(),
                    _ => {
                        return Err(Error::expression(
                            "`for.in` gives something that is no array",
                        ));
                    }
                };
                self.set_stage(thread, Stage::For { items, index: 0 });
                self.iterate(thread, input)
            }
            Kind::Fork { branches, .. } => self.fork(thread, &frame, branches.0.len(), &input),
            Kind::Try(..) => self.attempt_try(thread, self.around.now),
            Kind::Listen(listen) => {
                self.listen(thread, listen);
                Ok(())
            }
            Kind::Emit(event) => {
                let event = self.event(thread, &frame, event)?;
                let need = self.wait(thread, Role::Task, None);
                let key = self.key(&frame);
                self.open(
                    need,
                    Need::Emit(Emit {
                        key,
                        event: event.clone(),
                    }),
                );
                self.set_stage(thread, Stage::Emitting(need, event));
                Ok(())
            }
            Kind::Call(name, arguments) if self.is_shared(name) => {
                let data = match arguments {
                    Value::Null => input,
                    arguments => self.resolve(arguments, &input, scope)?,
                };
                self.set_stage(thread, Stage::List);
                let list = format!("/use/functions/{}", crate::dsl::escape(name));
                self.push_list(thread, list, frame.path.clone(), data, BTreeMap::new());
                Ok(())
            }
            Kind::Call(..) | Kind::Run(_) => {
                if let Some(task) = self.top_mut(thread) {
                    task.context = None;
                }
                let context = self.state.context.clone();
                let asked = self.request(thread, &frame)?;
                let need = self.wait(thread, Role::Task, None);
                if let Some(task) = self.top_mut(thread) {
                    task.context = Some(context);
                }
                self.open(need, asked);
                self.set_stage(thread, Stage::Waiting(need));
                Ok(())
            }
        }
    }

    fn is_shared(&self, function: &str) -> bool {
        self.program
            .definition
            .shared
            .functions
            .contains_key(function)
    }

    /// The same on every retry: instance and position.
    pub(super) fn key(&self, frame: &TaskFrame) -> String {
        format!("{}{}", self.state.instance, frame.path)
    }

    /// The error that a `raise` task means.
    fn raised(&self, error: &Value, input: &Value, scope: Scope<'_>) -> Result<Error, Error> {
        let template = match error {
            Value::String(name) => self
                .program
                .definition
                .shared
                .errors
                .get(name)
                .ok_or_else(|| Error::configuration(format!("no error named {name}")))?,
            own => own,
        };
        let resolved = self.resolve(template, input, scope)?;
        let text = |name: &str| match &resolved[name] {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        Ok(Error {
            kind: text("type").unwrap_or_else(|| "about:blank".to_owned()),
            status: resolved["status"]
                .as_u64()
                .and_then(|status| u16::try_from(status).ok())
                .unwrap_or(500),
            instance: text("instance").unwrap_or_default(),
            title: text("title"),
            detail: text("detail"),
        })
    }

    /// The event that an `emit` task publishes; the same when it is asked for again.
    fn event(&self, thread: u64, frame: &TaskFrame, template: &Value) -> Result<Value, Error> {
        let resolved = self.resolve(template, frame.input(), Self::scope(thread, frame))?;
        let Value::Object(fields) = resolved else {
            return Err(Error::configuration("an event that is no object"));
        };
        let mut event = Map::new();
        event.insert("specversion".to_owned(), json!("1.0"));
        event.insert("id".to_owned(), json!(self.key(frame)));
        event.insert("time".to_owned(), json!(frame.started_at.to_string()));
        if fields.contains_key("data") {
            event.insert("datacontenttype".to_owned(), json!("application/json"));
        }
        event.extend(fields);
        Ok(Value::Object(event))
    }

    /// The next iteration of the `for` on top, or its end.
    fn iterate(&mut self, thread: u64, data: Value) -> Result<(), Error> {
        let frame = self.current(thread)?;
        let node = self.node(&frame);
        let (
            Stage::For { items, index },
            Kind::For {
                each,
                at,
                condition,
                ..
            },
        ) = (&frame.stage, &node.task.kind)
        else {
            return Err(Error::runtime("no iteration is under way"));
        };
        let Some(item) = items.get(*index) else {
            return self.finish(thread, data, None);
        };
        let variables = BTreeMap::from([(each.clone(), item.clone()), (at.clone(), json!(index))]);
        let path = format!("{}[{index}]", frame.path);
        self.push_list(
            thread,
            format!("{}/do", frame.task),
            path,
            data.clone(),
            variables,
        );
        if let Some(condition) = condition
            && !self.holds(condition, &data, Self::scope(thread, &frame))?
        {
            self.frames(thread).pop();
            return self.finish(thread, data, None);
        }
        if let Some(Stage::For { index, .. }) = self.stage_below(thread) {
            *index += 1;
        }
        Ok(())
    }

    /// The stage of the task under the list on top.
    fn stage_below(&mut self, thread: u64) -> Option<&mut Stage> {
        match self.frames(thread).iter_mut().rev().nth(1)? {
            Frame::Task(task) => Some(&mut task.stage),
            Frame::List(_) => None,
        }
    }

    fn fork(
        &mut self,
        thread: u64,
        frame: &TaskFrame,
        branches: usize,
        input: &Value,
    ) -> Result<(), Error> {
        if branches == 0 {
            return self.finish(thread, json!([]), None);
        }
        if self.state.threads.len() + branches > self.around.limits.branches_max {
            let limit = setting("branches_max", self.around.limits.branches_max);
            return Err(Error::runtime(format!(
                "more branches are open than {limit}"
            )));
        }
        let mut threads = Vec::new();
        for branch in 0..branches {
            let id = self.number();
            let list = ListFrame {
                list: format!("{}/fork/branches/{branch}", frame.task),
                next: 0,
                data: input.clone(),
                path: format!("{}[{branch}]", frame.path),
                visits: BTreeMap::new(),
                variables: BTreeMap::new(),
                left: false,
            };
            let branch = Thread {
                frames: vec![Frame::List(list)],
                parent: Some((thread, branch)),
            };
            self.state.threads.insert(id, branch);
            threads.push(id);
        }
        let outputs = vec![None; branches];
        self.set_stage(thread, Stage::Fork { threads, outputs });
        Ok(())
    }

    /// A branch of the fork on top has ended well.
    pub(super) fn branch_ended(&mut self, thread: u64, branch: usize, output: Value) {
        let Ok(frame) = self.current(thread) else {
            return;
        };
        let compete = matches!(
            self.node(&frame).task.kind,
            Kind::Fork { compete: true, .. }
        );
        let Stage::Fork {
            threads,
            mut outputs,
        } = frame.stage
        else {
            return;
        };
        if compete {
            for (number, other) in threads.into_iter().enumerate() {
                if number != branch {
                    self.stop(other);
                }
            }
            let finished = self.finish(thread, output, None);
            return self.settle(thread, finished);
        }
        outputs[branch] = Some(output);
        if outputs.iter().all(Option::is_some) {
            let output = outputs.into_iter().flatten().collect();
            let finished = self.finish(thread, output, None);
            return self.settle(thread, finished);
        }
        self.set_stage(thread, Stage::Fork { threads, outputs });
    }

    /// A branch of the fork on top has failed: so has the fork, unless others still compete.
    pub(super) fn branch_failed(&mut self, thread: u64, branch: usize, error: Error) {
        let Ok(frame) = self.current(thread) else {
            return;
        };
        let compete = matches!(
            self.node(&frame).task.kind,
            Kind::Fork { compete: true, .. }
        );
        let Stage::Fork { threads, .. } = &frame.stage else {
            return;
        };
        let others: Vec<u64> = threads
            .iter()
            .enumerate()
            .filter(|(number, id)| *number != branch && self.state.threads.contains_key(id))
            .map(|(_, id)| *id)
            .collect();
        if compete && !others.is_empty() {
            return;
        }
        for other in others {
            self.stop(other);
        }
        self.fault(thread, error);
    }

    /// The list on the task on top has come to its end.
    pub(super) fn returned(&mut self, thread: u64, list: ListFrame) -> Result<(), Error> {
        let frame = self.current(thread)?;
        match frame.stage {
            Stage::Before(_) if list.left => self.finish(thread, list.data, None),
            Stage::Before(number) => self.extend_before(thread, number + 1),
            Stage::For { .. } => self.iterate(thread, list.data),
            Stage::Trying { limit, .. } => {
                if let Some(limit) = limit {
                    self.close(limit);
                }
                self.finish(thread, list.data, None)
            }
            Stage::Listening(_) => self.iterated(thread, list.data),
            Stage::After {
                number,
                output,
                then,
            } => self.extend_after(thread, number + 1, output, then),
            _ => self.finish(thread, list.data, None),
        }
    }

    /// What came of the need that the task on top waits for.
    pub(super) fn outcome(
        &mut self,
        thread: u64,
        need: NeedId,
        outcome: Outcome,
    ) -> Result<(), Error> {
        let frame = self.current(thread)?;
        match (&frame.stage, outcome) {
            (Stage::Listening(_), _) => Ok(()),
            (Stage::Delaying { since, .. }, Outcome::Fired) => {
                let since = *since;
                self.state.waits.remove(&need);
                self.attempt_try(thread, since)
            }
            (Stage::Emitting(_, event), Outcome::Done | Outcome::Completed(_)) => {
                let event = event.clone();
                self.state.waits.remove(&need);
                self.finish(thread, event, None)
            }
            (Stage::Waiting(_), outcome) => {
                self.state.waits.remove(&need);
                if let Some(task) = self.top_mut(thread) {
                    task.context = None;
                }
                let output = self.answer(&frame, outcome)?;
                self.finish(thread, output, None)
            }
            _ => {
                self.state.waits.remove(&need);
                Err(Error::runtime("an outcome that does not fit the task"))
            }
        }
    }

    /// The task on top has its raw output.
    pub(super) fn finish(
        &mut self,
        thread: u64,
        output: Value,
        then: Option<String>,
    ) -> Result<(), Error> {
        self.extend_after(thread, 0, output, then)
    }

    fn extend_after(
        &mut self,
        thread: u64,
        from: usize,
        output: Value,
        then: Option<String>,
    ) -> Result<(), Error> {
        let frame = self.current(thread)?;
        match self.extension(thread, &frame, from, true, Some(&output))? {
            Some((number, list)) => {
                let data = output.clone();
                self.set_stage(
                    thread,
                    Stage::After {
                        number,
                        output,
                        then,
                    },
                );
                let path = format!("{}/after{number}", frame.path);
                self.push_list(thread, list, path, data, BTreeMap::new());
                Ok(())
            }
            None => self.complete_task(thread, &output, then.as_deref()),
        }
    }

    fn complete_task(&mut self, thread: u64, raw: &Value, then: Option<&str>) -> Result<(), Error> {
        let frame = self.current(thread)?;
        let node = self.node(&frame);
        let is_shaped =
            node.task.output.transform.is_some() || node.task.export.transform.is_some();
        let authorization = if is_shaped {
            self.authorization_kept(thread, &frame)
        } else {
            None
        };
        let scope = Scope {
            raw_output: Some(raw),
            authorization: authorization.as_ref(),
            ..Self::scope(thread, &frame)
        };
        let output = self
            .transform(&node.task.output, raw, scope)?
            .unwrap_or_else(|| raw.clone());
        self.validate(&format!("{}/output", frame.task), &output)?;
        let scope = Scope {
            output: Some(&output),
            ..scope
        };
        if let Some(context) = self.transform(&node.task.export, &output, scope)? {
            self.validate(&format!("{}/export", frame.task), &context)?;
            self.state.context = context;
        }
        self.record(&frame, RecordStatus::Completed, |record| {
            record.output = Some(output.clone());
        });
        self.frames(thread).pop();
        self.close_from(thread, self.depth(thread));
        self.follow(thread, output, then.or(node.task.then.as_deref()))
    }

    /// Goes where the directive says.
    fn follow(&mut self, thread: u64, output: Value, then: Option<&str>) -> Result<(), Error> {
        let program = self.program;
        let Some(Frame::List(list)) = self.frames(thread).last_mut() else {
            return Err(Error::runtime("no list is under way"));
        };
        let tasks = &program.lists[&list.list];
        list.data = output;
        match then {
            None | Some("continue") => list.next += 1,
            Some("exit") => {
                list.next = tasks.len();
                list.left = true;
            }
            Some("end") => {
                let output = std::mem::take(&mut list.data);
                self.complete(output);
            }
            Some(name) => match tasks.iter().position(|(task, _)| task == name) {
                Some(position) => list.next = position,
                None => {
                    return Err(Error::configuration(format!(
                        "no task named {name} beside it"
                    )));
                }
            },
        }
        Ok(())
    }
}

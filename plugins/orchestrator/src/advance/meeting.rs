//! Needs that are met in the transaction of the advance itself: events out, jobs, children. They exist exactly when it does.

use nself_plugin_api::{
    capability::events::{NewEvent, emit_in},
    prelude::{Error, Result},
    serde_json::{Value, json},
};

use super::{number, work::Work};
use crate::{
    engine::{CallKind, Emit, Error as Fault, FunctionCall, Need, NeedId, Outcome, Process, Run},
    outcome::storable,
    room,
    store::{definitions, events, instances, jobs},
    version,
};

/// Children in children, and runs that start one another by events.
pub(crate) const DEPTH_MAX: i32 = 32;

impl Work<'_> {
    /// What a need that can be met in this transaction is met with.
    pub(super) async fn at_once(&mut self, id: NeedId) -> Result<Option<Outcome>> {
        let Some(need) = self.opened.get(&id) else {
            return Ok(None);
        };
        let met = match need {
            Need::Emit(emit) => self.emit(emit).await,
            Need::Run(run) if matches!(run.process, Process::Workflow(_)) => {
                let started = self.start(id, run).await;
                self.is_parent = true;
                return started;
            }
            Need::Call(call) => match &call.kind {
                CallKind::Function(function) if function.name == "job" => {
                    self.enqueue(function).await
                }
                _ => return Ok(None),
            },
            Need::Run(_) | Need::Timer { .. } | Need::Event(_) => return Ok(None),
        };
        Ok(Some(met.unwrap_or_else(Outcome::Failed)))
    }

    /// On the host's log, and to whoever listens here.
    async fn emit(&self, emit: &Emit) -> Result<Outcome, Fault> {
        let event = storable(emit.event.clone());
        let word = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
        let failed =
            |error: Error| Fault::runtime(format!("the event cannot be published: {error}"));
        let new = events::New {
            source: word("source"),
            event_id: word("id"),
            kind: word("type"),
            family_id: self.held.family_id,
            is_trusted: true,
            depth: self.held.depth,
            event: &event,
        };
        events::add(self.tx, &new).await.map_err(failed)?;
        let told = NewEvent {
            kind: "workflow.emitted",
            subject: word("type"),
            data: event.clone(),
            family_id: self.held.family_id,
        };
        emit_in(self.tx, told).await.map_err(failed)?;
        Ok(Outcome::Done)
    }

    /// A job of the catalog's function `job`: `kind`, `payload` and `options` are those of the jobs plugin.
    async fn enqueue(&self, function: &FunctionCall) -> Result<Outcome, Fault> {
        let arguments = &function.arguments;
        let Some(kind) = arguments.get("kind").and_then(Value::as_str) else {
            return Err(Fault::validation(
                "job: with.kind must be the kind of a job",
            ));
        };
        let payload = storable(
            arguments
                .get("payload")
                .cloned()
                .unwrap_or_else(|| json!({})),
        );
        let mut options = arguments
            .get("options")
            .cloned()
            .unwrap_or_else(|| json!({}));
        if let (Some(options), Some(family)) = (options.as_object_mut(), self.held.family_id) {
            options.insert("family_id".to_owned(), json!(family));
        }
        let job = jobs::enqueue(self.tx, kind, &payload, &options).await;
        let job = job.map_err(|error| Fault::runtime(format!("job: {error}")))?;
        Ok(Outcome::Completed(json!({"id": job})))
    }

    /// Starts a child. Whoever does not wait for it goes on at once.
    async fn start(&self, id: NeedId, run: &Run) -> Result<Option<Outcome>> {
        let Process::Workflow(wanted) = &run.process else {
            return Ok(None);
        };
        if self.held.depth >= DEPTH_MAX {
            return Ok(Some(Outcome::Failed(Fault::runtime(format!(
                "workflows in workflows are deeper than {DEPTH_MAX}, which no setting changes"
            )))));
        }
        let (namespace, name) = (&*wanted.namespace, &*wanted.name);
        let version = version::resolve(self.tx, namespace, name, &wanted.version).await?;
        let found = match &version {
            Some(version) => definitions::find(self.tx, namespace, name, version).await?,
            None => None,
        };
        let Some(definition) = found else {
            return Ok(Some(Outcome::Failed(Fault::configuration(format!(
                "there is no workflow {namespace}/{name} {}",
                wanted.version
            )))));
        };
        match room::check(self.cx, self.tx, self.held.family_id, 1).await {
            Ok(()) => {}
            Err(full) if room::is_full(&full) => {
                return Ok(Some(Outcome::Failed(Fault::runtime(
                    full.message().to_owned(),
                ))));
            }
            Err(error) => return Err(error),
        }
        let new = instances::New {
            definition_id: definition.id,
            namespace,
            name,
            version: &definition.version,
            family_id: self.held.family_id,
            input: &storable(wanted.input.clone()),
            key: None,
            parent: run.awaited.then(|| (self.id, number(id))),
            depth: self.held.depth + 1,
            schedule_id: None,
            created_by: &format!("workflow:{}", self.id),
        };
        instances::start(self.tx, &new).await?;
        Ok((!run.awaited).then_some(Outcome::Done))
    }
}

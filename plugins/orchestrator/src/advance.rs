//! One advance of an instance: outcomes go in, and state, history and open needs come out, in one transaction.
//!
//! The row of the instance is held all the time, so advances of one instance happen one after the other, on whatever host. What can
//! be done in the transaction itself (events out, jobs, children) is done there and then, and exists exactly when the advance does.

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use nself_plugin_api::{
    capability::{
        db::Transaction,
        events::{NewEvent, emit_in},
    },
    futures_util::future::{self, Either},
    prelude::{Cx, Error, Queries, Result},
    serde_json::{self, Value, json},
    uuid::Uuid,
};

use crate::{
    Orchestrator,
    engine::{
        CallKind, Emit, Error as Fault, FunctionCall, Limits, Need, NeedId, Outcome, Process,
        Program, Progress, Run, State, Status, Surroundings, TaskRecord,
    },
    matching,
    outcome::{self, storable},
    programs,
    store::{
        commands, definitions, events, history,
        instances::{self, Held, Left},
        needs, schedules,
    },
    telling,
};

/// Turns of one advance; what is not done then goes on in a job of its own.
const TURNS_MAX: usize = 64;
/// The same of the first advance, which whoever starts an instance waits for, and the steps of each of these turns.
const FIRST_TURNS_MAX: usize = 4;
const FIRST_STEPS_MAX: u32 = 200;
/// A first turn that takes longer is left to a job, and begins anew there.
const PATIENCE: Duration = Duration::from_secs(1);
/// While a turn takes long, the database is told that its transaction is still wanted.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
/// Children in children.
const DEPTH_MAX: i32 = 32;

/// What the engine's numbers of needs are in the database.
#[expect(clippy::cast_possible_wrap, reason = "needs are counted from 0")]
pub(crate) fn number(need: NeedId) -> i64 {
    need.0 as i64
}

/// The engine's name of a need.
pub(crate) fn need(number: i64) -> NeedId {
    NeedId(number.unsigned_abs())
}

/// Who advances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The job that was enqueued for it.
    ItsJob,
    /// Somebody with an outcome.
    Outcome,
}

/// Takes outcomes in and goes on as far as it may. An instance that has ended, or is not there any more, takes nothing in.
///
/// # Errors
///
/// The database fails: nothing has happened then.
pub(crate) async fn advance(
    cx: &Cx<Orchestrator>,
    id: Uuid,
    given: Vec<(NeedId, Outcome)>,
    by: By,
) -> Result<()> {
    let tx = cx.db().begin().await?;
    if by == By::ItsJob {
        instances::begun(&tx, id).await?;
    }
    advance_in(cx, &tx, id, given).await?;
    tx.commit().await?;
    instances::tell(&cx.db(), id).await
}

/// The same in a transaction of the caller's.
pub(crate) async fn advance_in(
    cx: &Cx<Orchestrator>,
    tx: &Transaction,
    id: Uuid,
    given: Vec<(NeedId, Outcome)>,
) -> Result<()> {
    let Some(held) = instances::hold(tx, id).await?.filter(|held| held.is_open) else {
        return Ok(());
    };
    if held.is_suspended {
        for (need, outcome) in given {
            needs::put_aside(tx, id, number(need), &outcome::keep(outcome)).await?;
        }
        return Ok(());
    }
    let program = programs::of(cx, tx, held.definition_id).await?;
    let mut work = Work::new(cx, tx, id, &held);
    match program {
        Ok(program) => work.run(program, given).await?,
        Err(fault) => work.status = Status::Faulted(fault),
    }
    work.leave().await
}

/// The first advance of an instance that was made in this transaction: one that needs nothing from outside has then come and gone in
/// one commit, and what is not done soon goes on in a job. What else is to be written is written `beside` it.
///
/// # Errors
///
/// The database fails, and with it the transaction.
pub(crate) async fn begin_in(
    cx: &Cx<Orchestrator>,
    tx: &Transaction,
    id: Uuid,
    held: &Held,
    beside: impl Future<Output = Result<()>> + Send,
) -> Result<()> {
    let program = programs::of(cx, tx, held.definition_id).await?;
    let mut work = Work::new(cx, tx, id, held);
    work.turns_max = FIRST_TURNS_MAX;
    work.patience = Some(PATIENCE);
    match program {
        Ok(program) => work.run(program, Vec::new()).await?,
        Err(fault) => work.status = Status::Faulted(fault),
    }
    if work.is_slow {
        return future::try_join(instances::queue(tx, id), beside)
            .await
            .map(|_| ());
    }
    work.leave_beside(beside).await
}

/// Ends an instance that nothing drives any more.
///
/// # Errors
///
/// The database fails: nothing has happened then.
pub(crate) async fn give_up(cx: &Cx<Orchestrator>, id: Uuid, why: Fault) -> Result<()> {
    let tx = cx.db().begin().await?;
    let Some(held) = instances::hold(&tx, id).await?.filter(|held| held.is_open) else {
        return Ok(());
    };
    let mut work = Work::new(cx, &tx, id, &held);
    work.status = Status::Faulted(why);
    work.leave().await?;
    tx.commit().await?;
    instances::tell(&cx.db(), id).await
}

/// Hands an event to an open need, once.
pub(crate) async fn deliver(
    cx: &Cx<Orchestrator>,
    tx: &Transaction,
    id: Uuid,
    event: Uuid,
    to: NeedId,
    value: Value,
) -> Result<()> {
    let Some(held) = instances::hold(tx, id).await?.filter(|held| held.is_open) else {
        return Ok(());
    };
    let is_open = needs::of(tx, id).await?.contains(&number(to));
    if !is_open || events::is_taken(tx, id, event, number(to)).await? {
        return Ok(());
    }
    if held.is_suspended {
        // It looks for what came in the meantime when it goes on.
        return needs::look_again(tx, id, number(to)).await;
    }
    let mut work = Work::new(cx, tx, id, &held);
    match programs::of(cx, tx, held.definition_id).await? {
        Ok(program) => work.take_event(program, event, number(to), value).await?,
        Err(fault) => work.status = Status::Faulted(fault),
    }
    work.leave().await
}

/// An advance while it is under way.
struct Work<'a> {
    cx: &'a Cx<Orchestrator>,
    tx: &'a Transaction,
    id: Uuid,
    held: &'a Held,
    state: Option<State>,
    status: Status,
    records: Vec<TaskRecord>,
    opened: BTreeMap<NeedId, Need>,
    closed: Vec<NeedId>,
    turns_max: usize,
    /// How long the first turn may take.
    patience: Option<Duration>,
    /// It took longer, and nothing has been done.
    is_slow: bool,
    /// It has not come to its end by itself.
    is_cut: bool,
    /// It has started others.
    is_parent: bool,
}

impl<'a> Work<'a> {
    fn new(cx: &'a Cx<Orchestrator>, tx: &'a Transaction, id: Uuid, held: &'a Held) -> Self {
        Self {
            cx,
            tx,
            id,
            held,
            state: None,
            status: Status::Waiting,
            records: Vec::new(),
            opened: BTreeMap::new(),
            closed: Vec::new(),
            turns_max: TURNS_MAX,
            patience: None,
            is_slow: false,
            is_cut: false,
            is_parent: false,
        }
    }

    async fn take_event(
        &mut self,
        program: Arc<Program>,
        event: Uuid,
        number: i64,
        value: Value,
    ) -> Result<()> {
        let Some(state) = &self.held.state else {
            return Ok(());
        };
        self.state = Some(serde_json::from_slice(state).map_err(Error::internal)?);
        let world = self.world(&program);
        self.hand_over(&program, &world, event, number, value).await
    }

    fn world(&self, program: &Program) -> World {
        let mut limits = self.cx.plugin().config.limits();
        if self.turns_max < TURNS_MAX {
            limits.steps = limits.steps.min(FIRST_STEPS_MAX);
        }
        World {
            secrets: secrets(self.cx, program),
            limits,
            now: self.held.now,
        }
    }

    /// Nothing of it has been written yet.
    fn is_new(&self) -> bool {
        self.held.state.is_none()
    }

    async fn run(&mut self, program: Arc<Program>, given: Vec<(NeedId, Outcome)>) -> Result<()> {
        let world = self.world(&program);
        let is_new = self.held.state.is_none();
        if let Some(state) = &self.held.state {
            self.state = Some(serde_json::from_slice(state).map_err(Error::internal)?);
        } else {
            let (input, id) = (self.held.input.clone(), self.id.to_string());
            match world.tell(|around| program.start(input, &id, around)) {
                Ok(state) => self.state = Some(state),
                Err(fault) => {
                    self.status = Status::Faulted(fault);
                    return Ok(());
                }
            }
        }
        if self.held.is_cancelling {
            if let Some(state) = &mut self.state {
                let progress = world.tell(|around| program.cancel(state, around));
                self.absorb(progress);
            }
            return Ok(());
        }
        let outcomes = self.outcomes(given).await?;
        if is_new || !outcomes.is_empty() || self.held.status == "running" {
            self.turns(&program, &world, outcomes).await?;
        }
        self.early_events(&program, &world).await
    }

    /// What was put aside, what is due, and what was given, as far as it is still needed.
    async fn outcomes(&self, given: Vec<(NeedId, Outcome)>) -> Result<Vec<(NeedId, Outcome)>> {
        if self.held.state.is_none() {
            return Ok(Vec::new());
        }
        let aside = needs::take(self.tx, self.id).await?;
        let due = needs::due(self.tx, self.id).await?;
        let open = needs::of(self.tx, self.id).await?;
        let aside = aside
            .into_iter()
            .map(|(number, kept)| (need(number), outcome::read(kept)));
        let due = due.into_iter().map(|number| (need(number), Outcome::Fired));
        let all = aside.chain(due).chain(given);
        Ok(all
            .filter(|(need, _)| open.contains(&number(*need)))
            .collect())
    }

    /// Goes on until it waits for something that cannot be done here.
    async fn turns(
        &mut self,
        program: &Arc<Program>,
        world: &World,
        mut outcomes: Vec<(NeedId, Outcome)>,
    ) -> Result<()> {
        let history_max = self.cx.plugin().config.history_max as usize;
        let mut turn = 0;
        while turn < self.turns_max || !outcomes.is_empty() {
            turn += 1;
            let answered = outcomes
                .iter()
                .filter(|(_, outcome)| !matches!(outcome, Outcome::Event(_)));
            self.closed.extend(answered.map(|(need, _)| *need));
            let given = std::mem::take(&mut outcomes);
            let Some(progress) = self.turn(program, world, given).await? else {
                self.is_slow = true;
                return Ok(());
            };
            let new: Vec<NeedId> = progress.opened.iter().map(|(need, _)| *need).collect();
            self.absorb(progress);
            for id in new {
                if let Some(outcome) = self.at_once(id).await? {
                    self.opened.remove(&id);
                    outcomes.push((id, outcome));
                }
            }
            let is_idle = outcomes.is_empty() && self.status != Status::Running;
            if self.status.is_final() || is_idle || self.records.len() > history_max {
                return Ok(());
            }
        }
        self.is_cut = true;
        Ok(())
    }

    /// One turn of the engine, beside the threads that handlers run on; none when it takes longer than there is patience.
    async fn turn(
        &mut self,
        program: &Arc<Program>,
        world: &World,
        outcomes: Vec<(NeedId, Outcome)>,
    ) -> Result<Option<Progress>> {
        let Some(mut state) = self.state.take() else {
            return Err(
                Error::new(500, "INTERNAL", "something went wrong on our side")
                    .with_cause("an instance lost its state in an advance"),
            );
        };
        let (program, world) = (Arc::clone(program), world.clone());
        let tasks = self.cx.tasks();
        let done = tasks.blocking(move || {
            let progress = world.tell(|around| program.advance(&mut state, outcomes, around));
            (state, progress)
        });
        let (clock, patience) = (self.cx.clock(), self.patience.take());
        let mut done = pin!(done);
        loop {
            let late = pin!(clock.sleep(patience.unwrap_or(SIGN_OF_LIFE)));
            if let Either::Left((done, _)) = future::select(&mut done, late).await {
                let (state, progress) = done?;
                self.state = Some(state);
                return Ok(Some(progress));
            }
            if patience.is_some() {
                return Ok(None);
            }
            self.tx.execute("select 1", &[]).await?;
        }
    }

    fn absorb(&mut self, progress: Progress) {
        self.records.extend(progress.records);
        self.opened.extend(progress.opened);
        for need in progress.closed {
            self.opened.remove(&need);
            self.closed.push(need);
        }
        self.status = progress.status;
    }

    /// What a need that can be met in this transaction is met with.
    async fn at_once(&mut self, id: NeedId) -> Result<Option<Outcome>> {
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
        let job = crate::store::jobs::enqueue(self.tx, kind, &payload, &options).await;
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
                "workflows in workflows are {DEPTH_MAX} deep"
            )))));
        }
        let (namespace, name) = (&*wanted.namespace, &*wanted.name);
        let version = crate::version::resolve(self.tx, namespace, name, &wanted.version).await?;
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

    /// Events that came before this instance listened to them.
    async fn early_events(&mut self, program: &Arc<Program>, world: &World) -> Result<()> {
        if self.held.state.is_none() || self.status.is_final() {
            return Ok(());
        }
        let after = self.held.events_after;
        let found = events::early(self.tx, self.id, self.held.family_id, after).await?;
        for (event, number, filters, value) in found {
            let is_open = !self.closed.contains(&need(number));
            if self.status.is_final() || !is_open || !matching::fits(&filters, &value) {
                continue;
            }
            self.hand_over(program, world, event, number, value).await?;
        }
        Ok(())
    }

    /// An event for an open need. It is taken when something came of it.
    async fn hand_over(
        &mut self,
        program: &Arc<Program>,
        world: &World,
        event: Uuid,
        number: i64,
        value: Value,
    ) -> Result<()> {
        let before = self.state.clone();
        let outcomes = vec![(need(number), Outcome::Event(value))];
        self.turns(program, world, outcomes).await?;
        if self.state != before {
            events::taken(self.tx, self.id, event, number).await?;
        }
        Ok(())
    }

    /// Writes all of it.
    async fn leave(self) -> Result<()> {
        self.leave_beside(future::ready(Ok(()))).await
    }

    /// The same, and something of the caller's on the same way to the database.
    async fn leave_beside(mut self, beside: impl Future<Output = Result<()>> + Send) -> Result<()> {
        self.hold_to_limits();
        let listens = self.leave_needs().await?;
        let state = match &self.state {
            Some(state) => serde_json::to_vec(state).map_err(Error::internal)?,
            None => self.held.state.clone().unwrap_or_default(),
        };
        let (word, output, error) = match &self.status {
            Status::Running => ("running", None, None),
            Status::Waiting if self.is_cut => ("running", None, None),
            Status::Waiting => ("waiting", None, None),
            Status::Completed(output) => ("completed", Some(storable(output.clone())), None),
            Status::Faulted(fault) => ("faulted", None, Some(storable(json!(fault)))),
            Status::Cancelled => ("cancelled", None, None),
        };
        let count = i64::try_from(self.records.len()).unwrap_or(i64::MAX);
        let left = Left {
            epoch: self.held.epoch,
            state: &state,
            status: word,
            output,
            error,
            records: self.held.records + count,
        };
        let is_final = self.status.is_final();
        let told = async {
            if is_final {
                return self.ended(word).await;
            }
            if listens || word == "running" {
                return instances::queue(self.tx, self.id).await;
            }
            Ok(())
        };
        // Polled together, they go to the database together.
        let written = future::try_join(
            self.leave_history(),
            instances::leave(self.tx, self.id, left),
        );
        future::try_join3(written, told, beside).await.map(|_| ())
    }

    async fn leave_history(&self) -> Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        let records = storable(json!(self.records));
        history::write(self.tx, self.id, self.held.records, &records).await
    }

    /// Needs that were opened and closed, and whoever was asked to meet those; whether it listens to events anew.
    async fn leave_needs(&self) -> Result<bool> {
        let closed: Vec<i64> = self.closed.iter().map(|need| number(*need)).collect();
        let (is_new, is_final) = (self.is_new(), self.status.is_final());
        if is_final && !is_new {
            needs::close_all(self.tx, self.id).await?;
        } else if !is_new && !closed.is_empty() {
            needs::close(self.tx, self.id, &closed).await?;
        }
        if (!is_new || self.is_parent) && (is_final || !closed.is_empty()) {
            self.let_go(if is_final { None } else { Some(&closed) })
                .await?;
        }
        let mut listens = false;
        if !is_final {
            for (need, wanted) in &self.opened {
                let new = kept(*need, wanted);
                listens |= new.kind == "event";
                needs::open(self.tx, self.id, self.held.family_id, &new).await?;
            }
        }
        Ok(listens)
    }

    /// An instance that has grown over its limits ends with an error that says which.
    fn hold_to_limits(&mut self) {
        let config = &self.cx.plugin().config;
        let rows = self.held.records.unsigned_abs() + self.records.len() as u64;
        if rows > u64::from(config.history_max) && !self.status.is_final() {
            self.status = Status::Faulted(Fault::runtime(format!(
                "its history is longer than history_max ({})",
                config.history_max
            )));
        }
        let Some(state) = &self.state else { return };
        let bytes = serde_json::to_vec(state).map_or(0, |state| state.len());
        if bytes > config.state_bytes_max as usize {
            self.state = None;
            self.records.clear();
            self.status = Status::Faulted(Fault::runtime(format!(
                "its data are larger than state_bytes_max ({})",
                config.state_bytes_max
            )));
        }
    }

    /// Children and commands that nobody waits for any more: those of these needs, or all.
    async fn let_go(&self, needs: Option<&[i64]>) -> Result<()> {
        crate::store::jobs::cancel_children(self.tx, self.id, needs).await?;
        for command in commands::let_go(self.tx, self.id, needs).await? {
            telling::ended(self.tx, &command, None).await?;
        }
        Ok(())
    }

    async fn ended(&self, word: &str) -> Result<()> {
        if let Some(schedule) = self.held.schedule_id {
            schedules::pause(self.tx, schedule).await?;
        }
        if self.held.parent_id.is_some() {
            crate::store::jobs::tell_parent(self.tx, self.id, self.held.family_id).await?;
        }
        let (kind, id) = (format!("workflow.{word}"), self.id.to_string());
        let event = NewEvent {
            kind: &kind,
            subject: &id,
            data: json!({}),
            family_id: self.held.family_id,
        };
        emit_in(self.tx, event).await.map(|_| ())
    }
}

/// A need as it is kept: without what it would send.
fn kept(id: NeedId, wanted: &Need) -> needs::New<'static> {
    let mut new = needs::New {
        need: number(id),
        kind: "call",
        due_at: None,
        filters: None,
        types: None,
    };
    match wanted {
        Need::Timer { at } => {
            new.kind = "timer";
            new.due_at = Some(*at);
        }
        Need::Event(subscription) => {
            new.kind = "event";
            new.filters = Some(storable(json!(subscription.filters)));
            new.types = matching::types(&subscription.filters);
        }
        Need::Run(run) if matches!(run.process, Process::Workflow(_)) => new.kind = "child",
        // Programs are run beside the transaction, as calls are.
        Need::Run(_) | Need::Call(_) | Need::Emit(_) => {}
    }
    new
}

/// What the engine is told, in a form that goes to another thread.
#[derive(Clone)]
pub(crate) struct World {
    pub secrets: BTreeMap<String, Value>,
    pub limits: Limits,
    pub now: nself_plugin_api::jiff::Timestamp,
}

impl World {
    /// Tells the engine.
    pub(crate) fn tell<T>(&self, run: impl FnOnce(&Surroundings<'_>) -> T) -> T {
        let runtime =
            json!({"name": "nself", "version": env!("CARGO_PKG_VERSION"), "metadata": {}});
        let secrets = |name: &str| self.secrets.get(name).cloned();
        let random = || {
            let bits = u32::try_from(Uuid::now_v7().as_u128() & 0xffff_ffff).unwrap_or_default();
            f64::from(bits) / (f64::from(u32::MAX) + 1.0)
        };
        run(&Surroundings {
            now: self.now,
            runtime: &runtime,
            secrets: &secrets,
            random: &random,
            limits: self.limits,
        })
    }
}

/// Only what the definition names, of what the operator has written into the secret of this plugin: an object of names and values.
pub(crate) fn secrets(cx: &Cx<Orchestrator>, program: &Program) -> BTreeMap<String, Value> {
    let names = &program.definition().shared.secrets;
    if names.is_empty() {
        return BTreeMap::new();
    }
    let secret = cx.secrets().get(crate::SECRETS).unwrap_or_default();
    let known: BTreeMap<String, Value> = serde_json::from_slice(&secret).unwrap_or_default();
    known
        .into_iter()
        .filter(|(name, _)| names.contains(name))
        .collect()
}

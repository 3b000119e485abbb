//! An advance while it is under way: turns of the engine, with what comes in between.

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use nself_plugin_api::{
    capability::db::Transaction,
    futures_util::future::{self, Either},
    prelude::{Cx, Error, Queries, Result},
    serde_json::{self, Value},
    uuid::Uuid,
};

use super::{
    FIRST_STEPS_MAX, need, number,
    world::{World, secrets},
};
use crate::{
    Orchestrator,
    engine::{Need, NeedId, Outcome, Program, Progress, State, Status, TaskRecord},
    matching, outcome,
    store::{events, instances::Held, needs},
};

/// Turns of one advance; what is not done then goes on in a job of its own.
const TURNS_MAX: usize = 64;
/// While a turn takes long, the database is told that its transaction is still wanted.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// An advance while it is under way.
pub(super) struct Work<'a> {
    pub(super) cx: &'a Cx<Orchestrator>,
    pub(super) tx: &'a Transaction,
    pub(super) id: Uuid,
    pub(super) held: &'a Held,
    pub(super) state: Option<State>,
    pub(super) status: Status,
    pub(super) records: Vec<TaskRecord>,
    pub(super) opened: BTreeMap<NeedId, Need>,
    pub(super) closed: Vec<NeedId>,
    pub(super) turns_max: usize,
    /// How long the first turn may take.
    pub(super) patience: Option<Duration>,
    /// It took longer, and nothing has been done.
    pub(super) is_slow: bool,
    /// It has not come to its end by itself.
    pub(super) is_cut: bool,
    /// It has started others.
    pub(super) is_parent: bool,
    /// The job that goes on with the next call itself.
    pub(super) job: Option<i64>,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        cx: &'a Cx<Orchestrator>,
        tx: &'a Transaction,
        id: Uuid,
        held: &'a Held,
    ) -> Self {
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
            job: None,
        }
    }

    /// Shows it an event, with what came before; whether it is to be written.
    pub(super) async fn hear(&mut self, program: Arc<Program>, event: Uuid) -> Result<bool> {
        let Some(state) = &self.held.state else {
            return Ok(false);
        };
        self.state = Some(serde_json::from_slice(state).map_err(Error::internal)?);
        let world = self.world(&program);
        self.show(&program, &world, Some(event)).await
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
    pub(super) fn is_new(&self) -> bool {
        self.held.state.is_none()
    }

    /// Whether it has come from its beginning to its end with nothing in between.
    pub(super) fn has_gone_straight(&self) -> bool {
        self.is_new() && self.status.is_final() && !self.is_parent && self.closed.is_empty()
    }

    pub(super) async fn run(
        &mut self,
        program: Arc<Program>,
        given: Vec<(NeedId, Outcome)>,
    ) -> Result<()> {
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
        let (aside, due, open) = future::try_join3(
            needs::take(self.tx, self.id),
            needs::due(self.tx, self.id),
            needs::of(self.tx, self.id),
        )
        .await?;
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

    /// Events that came before this instance listened to them.
    async fn early_events(&mut self, program: &Arc<Program>, world: &World) -> Result<()> {
        if self.held.state.is_none() || self.status.is_final() {
            return Ok(());
        }
        self.show(program, world, None).await.map(drop)
    }

    /// Hands events that were not shown to it to the needs that are open; whether one was taken, or there are more.
    async fn show(
        &mut self,
        program: &Arc<Program>,
        world: &World,
        event: Option<Uuid>,
    ) -> Result<bool> {
        let (family, after) = (self.held.family_id, self.held.events_after);
        let shown = events::show(self.tx, self.id, family, after, event).await?;
        let mut is_to_be_written = !events::is_all(&shown);
        // A job of its own goes on with the rest.
        self.is_cut |= is_to_be_written;
        for one in shown {
            let is_open = !self.closed.contains(&need(one.need));
            if self.status.is_final() || !is_open || !matching::fits(&one.filters, &one.event) {
                continue;
            }
            is_to_be_written |= self
                .hand_over(program, world, one.id, one.need, one.event)
                .await?;
        }
        Ok(is_to_be_written)
    }

    /// An event for an open need. It is taken when something came of it.
    async fn hand_over(
        &mut self,
        program: &Arc<Program>,
        world: &World,
        event: Uuid,
        number: i64,
        value: Value,
    ) -> Result<bool> {
        let before = self.state.clone();
        let outcomes = vec![(need(number), Outcome::Event(value))];
        self.turns(program, world, outcomes).await?;
        let is_taken = self.state != before;
        if is_taken {
            events::taken(self.tx, self.id, event, number).await?;
        }
        Ok(is_taken)
    }
}

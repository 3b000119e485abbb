//! What an advance writes when it leaves its run.

use nself_plugin_api::{
    capability::events::{NewEvent, emit_in},
    futures_util::future,
    prelude::{Error, Result},
    serde_json::{self, json},
};

use super::{number, work::Work};
use crate::{
    config::setting,
    engine::{Error as Fault, Need, NeedId, Process, Status},
    matching,
    outcome::storable,
    store::{
        commands, history,
        instances::{self, Left},
        jobs, needs, schedules, watchers,
    },
    telling,
};

/// How a run is left.
pub(crate) struct After {
    /// The need of the call that the job goes on with itself.
    pub taken: Option<i64>,
    pub has_ended: bool,
}

impl Work<'_> {
    /// Writes all of it.
    pub(super) async fn leave(self) -> Result<After> {
        self.leave_beside(future::ready(Ok(()))).await
    }

    /// The same, and something of the caller's on the same way to the database.
    pub(super) async fn leave_beside(
        mut self,
        beside: impl Future<Output = Result<()>> + Send,
    ) -> Result<After> {
        self.hold_to_limits();
        let state = match &self.state {
            // It is taken back to the task that failed, or stands in no need of any.
            Some(_) if matches!(self.status, Status::Completed(_)) => None,
            Some(state) => Some(serde_json::to_vec(state).map_err(Error::internal)?),
            None => self.held.state.clone(),
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
            state,
            status: word,
            output,
            error,
            records: self.held.records + count,
        };
        // Polled together, they go to the database together.
        let written = future::try_join(
            self.leave_history(),
            instances::leave(self.tx, self.id, left),
        );
        let told = future::try_join(self.tell(word), beside);
        let (taken, ..) = future::try_join3(self.leave_needs(), written, told).await?;
        Ok(After {
            taken,
            has_ended: self.status.is_final(),
        })
    }

    /// Whoever wants to know of it hears of it, and what it has left to do gets its job.
    async fn tell(&self, word: &str) -> Result<()> {
        if !self.is_new() {
            watchers::tell(self.tx, self.id, self.cx.plugin().host).await?;
        }
        if self.status.is_final() {
            return self.ended(word).await;
        }
        let is_event = |need: &Need| matches!(need, Need::Event(_));
        if word == "running" || self.opened.values().any(is_event) {
            return instances::queue(self.tx, self.id).await;
        }
        Ok(())
    }

    async fn leave_history(&self) -> Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        let (before, records) = (self.held.records, history::text(&self.records)?);
        history::write(self.tx, self.id, before, self.records.len(), &records).await
    }

    /// Needs that were opened and closed, and whoever was asked to meet those.
    async fn leave_needs(&self) -> Result<Option<i64>> {
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
        let mut taken = None;
        if !is_final {
            for (need, wanted) in &self.opened {
                let is_call = matches!(wanted, Need::Call(_));
                let job = self.job.filter(|_| is_call && taken.is_none());
                let new = kept(*need, wanted, job);
                let is_open = needs::open(self.tx, self.id, self.held.family_id, &new).await?;
                if job.is_some() && is_open {
                    taken = Some(new.need);
                }
            }
        }
        Ok(taken)
    }

    /// An instance that has grown over its limits ends with an error that says which.
    fn hold_to_limits(&mut self) {
        let config = &self.cx.plugin().config;
        let rows = self.held.records.unsigned_abs() + self.records.len() as u64;
        if rows > u64::from(config.history_max) && !self.status.is_final() {
            let limit = setting("history_max", config.history_max);
            let detail = format!("its history is longer than {limit}");
            self.status = Status::Faulted(Fault::runtime(detail));
        }
        let Some(state) = &self.state else { return };
        let bytes = serde_json::to_vec(state).map_or(0, |state| state.len());
        if bytes > config.state_bytes_max as usize {
            self.state = None;
            self.records.clear();
            let limit = setting("state_bytes_max", config.state_bytes_max);
            let detail = format!("its data are larger than {limit}");
            self.status = Status::Faulted(Fault::runtime(detail));
        }
    }

    /// Children and commands that nobody waits for any more: those of these needs, or all.
    async fn let_go(&self, needs: Option<&[i64]>) -> Result<()> {
        jobs::cancel_children(self.tx, self.id, needs).await?;
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
            jobs::tell_parent(self.tx, self.id, self.held.family_id).await?;
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

/// A need as it is kept: without what it would send. `job` looks after it already.
fn kept(id: NeedId, wanted: &Need, job: Option<i64>) -> needs::New<'static> {
    let mut new = needs::New {
        need: number(id),
        kind: "call",
        due_at: None,
        filters: None,
        types: None,
        job,
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

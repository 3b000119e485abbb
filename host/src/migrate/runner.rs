//! The migrator: one session, one lock, step after step.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use super::error::MigrateError;
use super::ledger;
use super::owner::{Owner, file_name};
use super::plan::{self, Applied, Direction, Plan, StepStatus};
use super::step::Step;
use crate::plugin::manifest::Migration;

/// How a run behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a statement waits for a lock before the step is rolled back and tried again. Everybody who wants the
    /// table waits that long with it. 200 ms.
    pub lock_timeout: Duration,
    /// How long a step is tried again while others hold locks. 60 s.
    pub retry_for: Duration,
    /// Time limit of a statement in a transaction; none by default. A step without transaction has no limit.
    pub statement_timeout: Option<Duration>,
    /// How long to wait for another migration run. 5 min.
    pub wait_for_others: Duration,
    /// Take the text of an edited step as the applied one instead of refusing it.
    pub accept_edited: bool,
    /// Apply the steps of each owner up to and with this number; all by default.
    pub to: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lock_timeout: Duration::from_millis(200),
            retry_for: Duration::from_secs(60),
            statement_timeout: None,
            wait_for_others: Duration::from_secs(300),
            accept_edited: false,
            to: None,
        }
    }
}

/// What a run tells while it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// Another run holds the lock.
    Waiting {
        /// Process id of its session in Postgres, when it can be seen.
        holder: Option<i32>,
    },
    /// A statement is about to be sent.
    Statement {
        /// Whose step.
        owner: &'a str,
        /// File name.
        file: &'a str,
        /// Of the statement in the file, from 1.
        number: usize,
        /// Statements in the file.
        count: usize,
        /// Line in the file.
        line: usize,
    },
    /// Somebody held a lock; the step was rolled back and starts again after a pause.
    Retrying {
        /// Whose step.
        owner: &'a str,
        /// File name.
        file: &'a str,
        /// Attempts so far.
        attempt: u32,
    },
    /// A step is done.
    Done(&'a StepReport),
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The steps that it took, in order; empty when everything was there already.
    pub steps: Vec<StepReport>,
}

/// One step that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// Whose step.
    pub owner: String,
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Forward or back.
    pub direction: Direction,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

type Hear = dyn Fn(&Progress<'_>) + Send + Sync;

/// Who hears of the progress.
pub(super) struct Observer(Option<Box<Hear>>);

impl Observer {
    pub(super) fn tell(&self, progress: &Progress<'_>) {
        if let Some(hear) = &self.0 {
            hear(progress);
        }
    }
}

/// Applies and takes back steps over a session of its own.
///
/// The session must be a direct one: behind a pooler in transaction mode the lock would belong to nobody.
/// A run that is dropped in the middle leaves its step undone, and the lock ends with the session: do not use it again.
pub struct Migrator {
    client: Client,
    options: Options,
    observer: Observer,
}

impl Migrator {
    /// A migrator over `client`, whose connection the caller keeps running.
    pub fn new(client: Client, options: Options) -> Self {
        Self {
            client,
            options,
            observer: Observer(None),
        }
    }

    /// Tells `hear` what goes on, from the task that runs the migrator; it must not block for long.
    #[must_use]
    pub fn on_progress(mut self, hear: impl Fn(&Progress<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Observer(Some(Box::new(hear)));
        self
    }

    /// The session again, for more work.
    pub fn into_client(self) -> Client {
        self.client
    }

    /// What [`up`](Self::up) would do now. Writes nothing and takes no lock.
    ///
    /// # Errors
    ///
    /// The same as `up` before its first step.
    pub async fn plan(&self, owners: &[Owner]) -> Result<Plan, MigrateError> {
        let mut plan = Plan::default();
        for owner in owners {
            owner.validate()?;
            let applied = ledger::applied(&self.client, &owner.name).await?;
            plan::check_applied(owner, &applied, self.options.accept_edited)?;
            for step in plan::pending(owner, &applied, self.options.to) {
                plan.steps.push(plan::planned(owner, step, Direction::Up)?);
            }
        }
        Ok(plan)
    }

    /// What [`down`](Self::down) would do now. Writes nothing and takes no lock.
    ///
    /// # Errors
    ///
    /// The same as `down` before its first step.
    pub async fn plan_down(&self, owner: &Owner, count: usize) -> Result<Plan, MigrateError> {
        owner.validate()?;
        let applied = ledger::applied(&self.client, &owner.name).await?;
        let mut plan = Plan::default();
        for step in to_take_back(owner, &applied, count)? {
            plan.steps
                .push(plan::planned(owner, step, Direction::Down)?);
        }
        Ok(plan)
    }

    /// Where every step of `owners` stands. Takes no lock and refuses nothing.
    pub async fn status(&self, owners: &[Owner]) -> Result<Vec<StepStatus>, MigrateError> {
        let mut lines = Vec::new();
        for owner in owners {
            let applied = ledger::applied(&self.client, &owner.name).await?;
            lines.extend(plan::status(owner, &applied));
        }
        Ok(lines)
    }

    /// Applies what is pending, owner by owner in the given order. All texts and all applied steps are checked before
    /// the first one runs.
    ///
    /// # Errors
    ///
    /// Steps before the failed one stay applied; the failed one left nothing.
    pub async fn up(&mut self, owners: &[Owner]) -> Result<Report, MigrateError> {
        owners.iter().try_for_each(Owner::validate)?;
        self.lock().await?;
        let outcome = self.up_locked(owners).await;
        ledger::unlock(&self.client).await;
        outcome
    }

    /// Takes back the last `count` applied steps of `owner`, newest first.
    ///
    /// # Errors
    ///
    /// [`MigrateError::Target`] when less than `count` steps are applied; nothing has been taken back then.
    pub async fn down(&mut self, owner: &Owner, count: usize) -> Result<Report, MigrateError> {
        owner.validate()?;
        self.lock().await?;
        let outcome = self.down_locked(owner, count).await;
        ledger::unlock(&self.client).await;
        outcome
    }

    /// Takes back the last applied step of `owner` and applies it again, for whoever is writing it.
    ///
    /// # Errors
    ///
    /// [`MigrateError::Target`] when no step is applied.
    pub async fn redo(&mut self, owner: &Owner) -> Result<Report, MigrateError> {
        owner.validate()?;
        self.lock().await?;
        let outcome = self.redo_locked(owner).await;
        ledger::unlock(&self.client).await;
        outcome
    }

    async fn lock(&self) -> Result<(), MigrateError> {
        ledger::lock(&self.client, self.options.wait_for_others, &self.observer).await?;
        let outcome = ledger::bootstrap(&self.client).await;
        if outcome.is_err() {
            ledger::unlock(&self.client).await;
        }
        outcome
    }

    async fn up_locked(&mut self, owners: &[Owner]) -> Result<Report, MigrateError> {
        let mut all_applied = Vec::with_capacity(owners.len());
        for owner in owners {
            all_applied.push(self.check(owner).await?);
        }
        let mut report = Report::default();
        for (owner, applied) in owners.iter().zip(all_applied) {
            for step in plan::pending(owner, &applied, self.options.to) {
                report
                    .steps
                    .push(self.take(owner, step, Direction::Up, &applied).await?);
            }
        }
        Ok(report)
    }

    /// What is applied of an owner. Refuses an edited or unknown step, or accepts the edited one when told so.
    async fn check(&self, owner: &Owner) -> Result<Applied, MigrateError> {
        let applied = ledger::read(&self.client, &owner.name).await?;
        plan::check_applied(owner, &applied, self.options.accept_edited)?;
        if self.options.accept_edited {
            for step in owner
                .steps
                .iter()
                .filter(|step| applied.contains_key(&step.number))
            {
                ledger::accept(&self.client, &owner.name, step)
                    .await
                    .map_err(MigrateError::database(format!(
                        "accept {}",
                        file_name(step, Direction::Up)
                    )))?;
            }
        }
        Ok(applied)
    }

    async fn down_locked(&mut self, owner: &Owner, count: usize) -> Result<Report, MigrateError> {
        let applied = ledger::applied(&self.client, &owner.name).await?;
        let steps = to_take_back(owner, &applied, count)?;
        let mut report = Report::default();
        for step in steps {
            report
                .steps
                .push(self.take(owner, step, Direction::Down, &applied).await?);
        }
        Ok(report)
    }

    async fn redo_locked(&mut self, owner: &Owner) -> Result<Report, MigrateError> {
        let mut report = self.down_locked(owner, 1).await?;
        let number = report.steps[0].number;
        let step = owner
            .steps
            .iter()
            .find(|step| step.number == number)
            .expect("it was just taken back");
        report.steps.push(
            self.take(owner, step, Direction::Up, &Applied::new())
                .await?,
        );
        Ok(report)
    }

    async fn take(
        &mut self,
        owner: &Owner,
        migration: &Migration,
        direction: Direction,
        applied: &Applied,
    ) -> Result<StepReport, MigrateError> {
        let begun = applied
            .get(&migration.number)
            .is_some_and(|row| row.applied_at.is_none());
        let step = Step {
            owner,
            migration,
            direction,
            options: &self.options,
            observer: &self.observer,
        };
        let started = Instant::now();
        step.run(&mut self.client, begun).await?;
        let report = StepReport {
            owner: owner.name.clone(),
            number: migration.number,
            name: migration.name.clone(),
            direction,
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        self.observer.tell(&Progress::Done(&report));
        Ok(report)
    }
}

/// The last `count` applied steps, newest first.
fn to_take_back<'a>(
    owner: &'a Owner,
    applied: &Applied,
    count: usize,
) -> Result<Vec<&'a Migration>, MigrateError> {
    // An edited step may be taken back: that is how one gets rid of it. An unknown one has no text to do it with.
    if let Some(number) = applied
        .keys()
        .find(|number| !owner.steps.iter().any(|step| step.number == **number))
    {
        let file = format!("{number:04}_{}.down.sql", applied[number].name);
        return Err(MigrateError::Unknown {
            owner: owner.name.clone(),
            file,
        });
    }
    let steps: Vec<_> = owner
        .steps
        .iter()
        .rev()
        .filter(|step| applied.contains_key(&step.number))
        .take(count)
        .collect();
    if steps.len() < count {
        return Err(MigrateError::Target(format!(
            "cannot take back {count} steps of {}: {} applied",
            owner.name,
            steps.len()
        )));
    }
    Ok(steps)
}

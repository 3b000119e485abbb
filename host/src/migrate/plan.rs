//! What is applied, against what there is: the plan of a run and the status for people.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::MigrateError;
use super::ledger::AppliedStep;
use super::owner::{Owner, file_name};
use crate::plugin::manifest::Migration;

/// Forward or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The `.up.sql` file.
    Up,
    /// The `.down.sql` file.
    Down,
}

impl Direction {
    /// As in file names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// The steps that a run would take, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Empty when there is nothing to do.
    pub steps: Vec<PlannedStep>,
}

/// One step of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// Whose step.
    pub owner: String,
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Forward or back.
    pub direction: Direction,
    /// False for a step marked `-- nself: no-transaction`.
    pub transactional: bool,
    /// How many statements it has.
    pub statements: usize,
    /// sha256 of the step's up text, hex.
    pub checksum: String,
}

/// Where a step stands in this database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Applied, and its text is the same today.
    Applied,
    /// To be applied by the next `up`.
    Pending,
    /// A run of a step without transaction was cut off; the next `up` resumes it.
    Unfinished,
    /// Applied, but its text was changed since.
    Edited,
    /// Applied, but not among the steps that there are.
    Unknown,
}

/// One line of the status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepStatus {
    /// Whose step.
    pub owner: String,
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: State,
    /// When it was applied.
    pub applied_at: Option<Timestamp>,
    /// How long that took, in milliseconds.
    pub duration_ms: Option<i64>,
    /// The version of the host that applied it.
    pub host_version: Option<String>,
}

/// sha256 of a step's up text, hex: what `sha256sum` prints for the file.
pub(super) fn checksum(step: &Migration) -> String {
    HEXLOWER.encode(digest(&SHA256, step.up.as_bytes()).as_ref())
}

/// What is applied of one owner, by number.
pub(super) type Applied = BTreeMap<u32, AppliedStep>;

/// Refuses a database whose applied steps are not the first ones of `owner`, word for word when not `accept_edited`.
pub(super) fn check_applied(
    owner: &Owner,
    applied: &Applied,
    accept_edited: bool,
) -> Result<(), MigrateError> {
    for (number, row) in applied {
        let Some(step) = step(owner, *number) else {
            let file = format!("{number:04}_{}.up.sql", row.name);
            return Err(MigrateError::Unknown {
                owner: owner.name.clone(),
                file,
            });
        };
        if !accept_edited && state(owner, *number, Some(row)) == State::Edited {
            return Err(MigrateError::Edited {
                owner: owner.name.clone(),
                file: file_name(step, Direction::Up),
                recorded: row.checksum.clone(),
                found: checksum(step),
            });
        }
    }
    Ok(())
}

/// The steps of `owner` that are not applied, up to and with `to`.
pub(super) fn pending<'a>(
    owner: &'a Owner,
    applied: &'a Applied,
    to: Option<u32>,
) -> impl Iterator<Item = &'a Migration> {
    owner.steps.iter().filter(move |step| {
        let is_done = applied
            .get(&step.number)
            .is_some_and(|row| row.applied_at.is_some());
        !is_done && to.is_none_or(|to| step.number <= to)
    })
}

pub(super) fn planned(
    owner: &Owner,
    step: &Migration,
    direction: Direction,
) -> Result<PlannedStep, MigrateError> {
    let script = owner.script(step, direction)?;
    Ok(PlannedStep {
        owner: owner.name.clone(),
        number: step.number,
        name: step.name.clone(),
        direction,
        transactional: script.is_transactional(),
        statements: script.statement_count(),
        checksum: checksum(step),
    })
}

/// Every step of `owner` and every applied one that it does not have, by number.
pub(super) fn status(owner: &Owner, applied: &Applied) -> Vec<StepStatus> {
    let names = owner
        .steps
        .iter()
        .map(|step| (step.number, step.name.as_str()));
    let all: BTreeMap<u32, &str> = applied
        .iter()
        .map(|(number, row)| (*number, row.name.as_str()))
        .chain(names)
        .collect();
    let line = |(number, name): (u32, &str)| {
        let row = applied.get(&number);
        StepStatus {
            owner: owner.name.clone(),
            number,
            name: name.to_owned(),
            state: state(owner, number, row),
            applied_at: row.and_then(|row| row.applied_at),
            duration_ms: row.and_then(|row| row.duration_ms),
            host_version: row.map(|row| row.host_version.clone()),
        }
    };
    all.into_iter().map(line).collect()
}

fn step(owner: &Owner, number: u32) -> Option<&Migration> {
    owner.steps.iter().find(|step| step.number == number)
}

fn state(owner: &Owner, number: u32, row: Option<&AppliedStep>) -> State {
    match (step(owner, number), row) {
        (_, None) => State::Pending,
        (None, Some(_)) => State::Unknown,
        // An unfinished step has left nothing that its text could disagree with.
        (Some(_), Some(row)) if row.applied_at.is_none() => State::Unfinished,
        (Some(step), Some(row)) if row.checksum != checksum(step) => State::Edited,
        (Some(_), Some(_)) => State::Applied,
    }
}

//! A schedule as its owner sees it. Every answer names the next times, so that nobody has to work them out.

use nself_plugin_api::{Schema, jiff::Timestamp, serde_json::Value};
use serde::Serialize;

use crate::{
    schedule::{Definition, GapRule, MissedRule, Overlap, OverlapTime},
    store::schedules::Stored,
    zone::Zones,
};

/// How many times are named.
const NEXT: usize = 10;

/// The answer.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Shown {
    /// Its name.
    pub name: String,
    /// Who keeps its definition: `api`, `file`, `hasura`, `event`, `plugin:<id>` or `kept:<word>`.
    pub owner: String,
    /// A sentence for people.
    pub comment: Option<String>,
    /// When it fires.
    pub spec: String,
    /// Zone of its local times, when one was asked for.
    pub zone: Option<String>,
    /// For local times that do not exist.
    pub gap: GapRule,
    /// For local times that happen twice.
    pub overlap_time: OverlapTime,
    /// The first instant at which it may fire.
    pub start_at: Option<Timestamp>,
    /// The last instant at which it may fire.
    pub end_at: Option<Timestamp>,
    /// For fires whose time passed while nobody was there.
    pub missed: MissedRule,
    /// Most fires that `all` makes up for.
    pub missed_max: i32,
    /// How old a fire may be that is made up for.
    pub missed_window_seconds: i64,
    /// For a fire while the run before it is not over.
    pub overlap: Overlap,
    /// Each fire is put off by less than that.
    pub jitter_seconds: i32,
    /// What it does.
    pub target: Value,
    /// `active`, `paused`, `ended`, or `stuck` when its next time cannot be computed.
    pub state: &'static str,
    /// Why it is stuck.
    pub trouble: Option<String>,
    /// The next times that it names, jitter not counted. A paused schedule does not fire at them.
    pub next: Vec<Timestamp>,
    /// When it was paused.
    pub paused_at: Option<Timestamp>,
    /// By whom.
    pub paused_by: Option<String>,
    /// And why.
    pub pause_reason: Option<String>,
    /// The last time that was decided about.
    pub last_scheduled_at: Option<Timestamp>,
    /// When that was.
    pub last_fired_at: Option<Timestamp>,
    /// What became of it: `fired`, `waiting`, `skipped` or `failed`.
    pub last_outcome: Option<String>,
    /// How late it was.
    pub last_late_ms: Option<i64>,
    /// The job of the last run.
    pub last_job_id: Option<i64>,
    /// The time whose run waits for the one before it.
    pub waiting_at: Option<Timestamp>,
    /// Runs so far.
    pub fired_total: i64,
    /// Times that were skipped because of the run before.
    pub skipped_total: i64,
    /// Looks that found times for which nothing was fired any more.
    pub missed_total: i64,
    /// Times whose target could not be reached.
    pub failed_total: i64,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Shown {
    pub(crate) fn of(stored: Stored, zones: &Zones, now: Timestamp) -> Self {
        let next = next(&stored, zones, now);
        let state = match (&stored.paused_at, &stored.trouble, stored.next_at) {
            (Some(_), _, _) => "paused",
            (None, Some(_), _) => "stuck",
            (None, None, None) => "ended",
            (None, None, Some(_)) => "active",
        };
        let Definition {
            name,
            spec,
            target,
            zone,
            gap,
            overlap_time,
            start_at,
            end_at,
            missed,
            missed_max,
            missed_window_seconds,
            overlap,
            jitter_seconds,
            comment,
        } = stored.definition;
        Self {
            name,
            owner: stored.owner,
            comment,
            spec,
            zone,
            gap,
            overlap_time,
            start_at,
            end_at,
            missed,
            missed_max,
            missed_window_seconds,
            overlap,
            jitter_seconds,
            target,
            state,
            trouble: stored.trouble,
            next,
            paused_at: stored.paused_at,
            paused_by: stored.paused_by,
            pause_reason: stored.pause_reason,
            last_scheduled_at: stored.last_nominal_at,
            last_fired_at: stored.last_fired_at,
            last_outcome: stored.last_outcome,
            last_late_ms: stored.last_late_ms,
            last_job_id: stored.last_job,
            waiting_at: stored.waiting_at,
            fired_total: stored.fired_total,
            skipped_total: stored.skipped_total,
            missed_total: stored.missed_total,
            failed_total: stored.failed_total,
            created_at: stored.created_at,
        }
    }
}

fn next(stored: &Stored, zones: &Zones, now: Timestamp) -> Vec<Timestamp> {
    let timing = stored.definition.when().read(stored.created_at, zones);
    match (timing, stored.next_at) {
        (Ok(timing), Some(_)) => timing.after(now).take(NEXT).collect(),
        _ => Vec::new(),
    }
}

//! A schedule as people write it, checked and completed into what is stored.

use std::time::Duration;

use nself_plugin_api::{Schema, jiff::Timestamp, serde_json::Value};
use serde::{Deserialize, Serialize};

use crate::{
    jitter,
    missed::{CatchUp, Missed},
    refusal::ScheduleError,
    rule, target,
    timing::{self, Timing},
    zone::Zones,
};

/// How late a fire may be that is not missed: hosts are restarted, and a tick may wait for a lock.
const GRACE: Duration = Duration::from_secs(60);
/// Most characters of a comment.
const COMMENT_MAX: usize = 1_000;

/// For local times that do not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, Schema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GapRule {
    /// They fire after the gap.
    #[default]
    Run,
    /// They do not fire on that day.
    Skip,
}

/// For local times that happen twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, Schema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OverlapTime {
    /// They fire at the first of the two.
    #[default]
    First,
    /// They fire at both.
    Both,
}

/// What becomes of fires whose time passed while nobody was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, Schema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MissedRule {
    /// Nothing.
    Skip,
    /// The last of them stands for all.
    #[default]
    Last,
    /// All are made up for, at most `missed_max`.
    All,
}

/// What becomes of a fire while the run before it is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, Schema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Overlap {
    /// It is skipped.
    #[default]
    Skip,
    /// One waits until the run is over, more are skipped.
    QueueOne,
    /// It runs beside the other.
    Allow,
    /// It runs, and the other is cancelled.
    CancelPrevious,
}

macro_rules! words {
    ($($Type:ident { $($Variant:ident = $word:literal),* })*) => { $(
        impl $Type {
            /// The word in the table.
            pub(crate) fn word(self) -> &'static str {
                match self { $(Self::$Variant => $word),* }
            }

            /// What stands in the table; its constraints allow no other word.
            pub(crate) fn of(word: &str) -> Self {
                match word { $($word => Self::$Variant,)* _ => Self::default() }
            }
        }
    )* };
}

words! {
    GapRule { Run = "run", Skip = "skip" }
    OverlapTime { First = "first", Both = "both" }
    MissedRule { Skip = "skip", Last = "last", All = "all" }
    Overlap { Skip = "skip", QueueOne = "queue_one", Allow = "allow", CancelPrevious = "cancel_previous" }
}

/// When: the part of a definition that can be previewed without the rest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct When {
    /// A cron expression, `@every 90s`, `@at 2030-01-01T00:00:00Z`, or an RRULE of RFC 5545.
    pub spec: String,
    /// IANA name of the time zone; UTC when neither this nor the text names one.
    #[serde(default)]
    pub zone: Option<String>,
    /// For local times that do not exist.
    #[serde(default)]
    pub gap: GapRule,
    /// For local times that happen twice.
    #[serde(default)]
    pub overlap_time: OverlapTime,
    /// The first instant at which it may fire.
    #[serde(default)]
    pub start_at: Option<Timestamp>,
    /// The last instant at which it may fire.
    #[serde(default)]
    pub end_at: Option<Timestamp>,
}

impl When {
    /// Reads the text.
    pub(crate) fn read(
        &self,
        created_at: Timestamp,
        zones: &Zones,
    ) -> Result<Timing, ScheduleError> {
        let definition = timing::Definition {
            spec: &self.spec,
            zone: self.zone.as_deref(),
            start_at: self.start_at,
            end_at: self.end_at,
            created_at,
            gap: match self.gap {
                GapRule::Run => rule::Gap::Run,
                GapRule::Skip => rule::Gap::Skip,
            },
            overlap_time: match self.overlap_time {
                OverlapTime::First => rule::Overlap::First,
                OverlapTime::Both => rule::Overlap::Both,
            },
        };
        Ok(Timing::read(&definition, zones)?)
    }
}

/// A schedule as it is defined over HTTP and in files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Definition {
    /// Its name, unique on this system.
    pub name: String,
    /// A cron expression, `@every 90s`, `@at 2030-01-01T00:00:00Z`, or an RRULE of RFC 5545.
    pub spec: String,
    /// What it does: `{"job": {"kind", "payload", "options"}}`, `{"workflow": {"namespace", "name", "version", "input", "options"}}`,
    /// `{"event": {"type", "subject", "data"}}` or `{"http": {"method", "url", "headers", "body", "options"}}`.
    pub target: Value,
    /// IANA name of the time zone; UTC when neither this nor the text names one.
    #[serde(default)]
    pub zone: Option<String>,
    /// For local times that do not exist.
    #[serde(default)]
    pub gap: GapRule,
    /// For local times that happen twice.
    #[serde(default)]
    pub overlap_time: OverlapTime,
    /// The first instant at which it may fire.
    #[serde(default)]
    pub start_at: Option<Timestamp>,
    /// The last instant at which it may fire.
    #[serde(default)]
    pub end_at: Option<Timestamp>,
    /// For fires whose time passed while nobody was there.
    #[serde(default)]
    pub missed: MissedRule,
    /// Most fires that `all` makes up for.
    #[serde(default = "missed_max")]
    #[schema(minimum = 1, maximum = 1_000)]
    pub missed_max: i32,
    /// How old a fire may be that is made up for.
    #[serde(default = "missed_window")]
    #[schema(minimum = 0)]
    pub missed_window_seconds: i64,
    /// For a fire while the run before it is not over.
    #[serde(default)]
    pub overlap: Overlap,
    /// Each fire is put off by less than that, by another time for each schedule.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 86_400)]
    pub jitter_seconds: i32,
    /// A sentence for people.
    #[serde(default)]
    pub comment: Option<String>,
}

fn missed_max() -> i32 {
    100
}

fn missed_window() -> i64 {
    86_400
}

impl Definition {
    /// A schedule with what is usual for all but name, text and target.
    pub(crate) fn usual(name: String, spec: String, target: Value) -> Self {
        Self {
            name,
            spec,
            target,
            zone: None,
            gap: GapRule::default(),
            overlap_time: OverlapTime::default(),
            start_at: None,
            end_at: None,
            missed: MissedRule::default(),
            missed_max: missed_max(),
            missed_window_seconds: missed_window(),
            overlap: Overlap::default(),
            jitter_seconds: 0,
            comment: None,
        }
    }

    /// When it fires.
    pub(crate) fn when(&self) -> When {
        When {
            spec: self.spec.clone(),
            zone: self.zone.clone(),
            gap: self.gap,
            overlap_time: self.overlap_time,
            start_at: self.start_at,
            end_at: self.end_at,
        }
    }

    /// The rule for missed fires. Jitter is no lateness.
    pub(crate) fn catch_up(&self) -> CatchUp {
        CatchUp {
            missed: match self.missed {
                MissedRule::Skip => Missed::Skip,
                MissedRule::Last => Missed::Last,
                MissedRule::All => Missed::All {
                    cap: usize::try_from(self.missed_max).unwrap_or(1),
                },
            },
            grace: GRACE + self.jitter(),
            window: Duration::from_secs(u64::try_from(self.missed_window_seconds).unwrap_or(0)),
        }
    }

    /// The longest delay of a fire.
    pub(crate) fn jitter(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.jitter_seconds).unwrap_or(0))
    }

    /// How long the fire for `nominal` is put off.
    pub(crate) fn delay(&self, id: u128, timing: &Timing, nominal: Timestamp) -> Duration {
        if self.jitter_seconds == 0 {
            return Duration::ZERO;
        }
        jitter::delay_before(id, nominal, self.jitter(), timing.next_after(nominal))
    }

    /// Checks it; what its target means.
    ///
    /// # Errors
    ///
    /// The first field that is wrong.
    pub(crate) fn check(&self) -> Result<Value, ScheduleError> {
        self.check_fields()?;
        target::action(&self.name, &self.target)
    }

    /// Checks all but the target.
    pub(crate) fn check_fields(&self) -> Result<(), ScheduleError> {
        if !is_name(&self.name) {
            let problem = "must be at most 128 letters, digits and _ . : / -, and begin with a letter or a digit";
            return Err(ScheduleError::invalid("name", problem));
        }
        if !(1..=1_000).contains(&self.missed_max) {
            return Err(ScheduleError::invalid(
                "missed_max",
                "must be from 1 to 1000",
            ));
        }
        if !(0..=315_360_000).contains(&self.missed_window_seconds) {
            let problem = "must be from 0 to 315360000, ten years";
            return Err(ScheduleError::invalid("missed_window_seconds", problem));
        }
        if !(0..=86_400).contains(&self.jitter_seconds) {
            return Err(ScheduleError::invalid(
                "jitter_seconds",
                "must be from 0 to 86400, a day",
            ));
        }
        let comment = self.comment.as_deref().unwrap_or_default();
        if comment.chars().count() > COMMENT_MAX || comment.contains('\0') {
            return Err(ScheduleError::invalid(
                "comment",
                "must be at most 1000 characters of text",
            ));
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let allowed =
        |one: char| one.is_ascii_alphanumeric() || matches!(one, '_' | '.' | ':' | '/' | '-');
    name.len() <= 128
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(allowed)
}

//! What workers say about the jobs that they have fetched: that they live, what they write down, how a job ended.

use nself_plugin_api::{
    bytes::Bytes,
    jiff::Timestamp,
    prelude::*,
    serde_json::{self, Value, json},
    uuid::Uuid,
};
use serde::{Deserialize, Serialize};

use super::{checked_lease, lease_seconds, option};
use crate::store::{
    finish::{Ending, State},
    pull::{Alive, Beat, Settled},
};

/// Most lines that are written down at once.
const LINES_MAX: usize = 100;
/// Longest line, and longest sentence of an error, characters.
const LINE_CHARS_MAX: usize = 2_000;
/// Longest time that a job is put off, seconds.
const DELAY_MAX: f64 = 366.0 * 86_400.0;

/// What a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// The worker lives and goes on.
    Heartbeat,
    /// Lines to be written down.
    Logs,
    /// It is done.
    Complete,
    /// This attempt failed.
    Fail,
    /// Not now: the attempt does not count.
    Snooze,
}

/// A line of a job's log.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    /// `debug`, `info`, `warn` or `error`.
    #[serde(default)]
    level: Level,
    /// What is to be known.
    message: String,
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, Default, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
enum Level {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

impl Line {
    /// Its level, as it is stored.
    pub(super) fn level(&self) -> &'static str {
        match self.level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }

    /// Its text, as it is stored.
    pub(super) fn message(&self) -> String {
        shortened(&self.message)
    }
}

/// One report; which fields it has depends on the action.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    /// The lease of the job.
    pub lease: Uuid,
    /// What it is about.
    pub action: Action,
    /// `heartbeat`: how far the job is, for who looks at it.
    #[serde(default)]
    pub progress: Option<Value>,
    /// `heartbeat`: for how many seconds the lease is good from now on; 60 when this is not there.
    #[serde(default)]
    pub lease_seconds: Option<f64>,
    /// `logs`: at most 100.
    #[serde(default)]
    pub lines: Vec<Line>,
    /// `complete`: what came of it.
    #[serde(default)]
    pub result: Option<Value>,
    /// `fail`: a stable name of the error, such as `PRINTER_AWAY`.
    #[serde(default)]
    pub code: Option<String>,
    /// `fail`: a sentence.
    #[serde(default)]
    pub message: Option<String>,
    /// `fail`: seconds until the next attempt, instead of what the job's policy says.
    #[serde(default)]
    pub retry_after: Option<f64>,
    /// `fail`: no further attempt could succeed.
    #[serde(default)]
    pub discard: bool,
    /// `snooze`: seconds until it is tried again.
    #[serde(default)]
    pub delay: Option<f64>,
}

/// A report that makes sense.
pub(super) enum Said {
    Beat(Beat),
    Logs(Vec<Line>),
    Ended(Ending),
}

impl Report {
    /// A report with nothing but its action.
    pub(crate) fn new(lease: Uuid, action: Action) -> Self {
        Self {
            lease,
            action,
            progress: None,
            lease_seconds: None,
            lines: Vec::new(),
            result: None,
            code: None,
            message: None,
            retry_after: None,
            discard: false,
            delay: None,
        }
    }

    pub(super) fn check(self) -> Result<Said> {
        match self.action {
            Action::Heartbeat => Ok(Said::Beat(Beat {
                lease: self.lease,
                lease_seconds: checked_lease(self.lease_seconds.unwrap_or_else(lease_seconds))?,
                progress: self.progress,
            })),
            Action::Logs if self.lines.is_empty() || self.lines.len() > LINES_MAX => {
                Err(option("lines", "1 to 100 lines"))
            }
            Action::Logs => Ok(Said::Logs(self.lines)),
            Action::Complete => completion(self.result.as_ref()),
            Action::Fail => self.failure(),
            Action::Snooze => Ok(Said::Ended(Ending {
                state: State::Snoozed,
                delay: Some(delay("delay", self.delay.unwrap_or(f64::NAN))?),
                ..Ending::completed(0)
            })),
        }
    }

    fn failure(self) -> Result<Said> {
        let code = self.code.filter(|code| is_code(code));
        let code =
            code.ok_or_else(|| option("code", "a name in upper case, such as PRINTER_AWAY"))?;
        let message = shortened(&self.message.unwrap_or_default());
        let delay = self.retry_after.map(|after| delay("retry_after", after));
        Ok(Said::Ended(Ending {
            state: if self.discard {
                State::Discarded
            } else {
                State::Failed
            },
            error: json!({"code": code, "message": message}).to_string().into(),
            delay: delay.transpose()?,
            ..Ending::completed(0)
        }))
    }
}

fn completion(result: Option<&Value>) -> Result<Said> {
    let result = result.filter(|result| !result.is_null());
    let result = result.map(serde_json::to_vec).transpose();
    Ok(Said::Ended(Ending {
        result: Bytes::from(result.map_err(Error::internal)?.unwrap_or_default()),
        ..Ending::completed(0)
    }))
}

fn is_code(code: &str) -> bool {
    let is_letter = |char: char| char.is_ascii_uppercase();
    let fits = |char: char| is_letter(char) || char.is_ascii_digit() || char == '_';
    code.len() <= 64 && code.starts_with(is_letter) && code.chars().all(fits)
}

fn delay(name: &str, seconds: f64) -> Result<f64> {
    if (0.0..=DELAY_MAX).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(option(name, "seconds, at most a year"))
    }
}

/// What Postgres and a reader can bear.
fn shortened(text: &str) -> String {
    let bearable = text.chars().filter(|char| *char != '\0');
    bearable.take(LINE_CHARS_MAX).collect()
}

/// What a worker is told. What does not belong to its report is null.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Answered {
    /// The lease of the report.
    pub lease: Uuid,
    /// The job, when the report ended it.
    pub id: Option<i64>,
    /// Its state now, when the report ended it.
    pub state: Option<String>,
    /// Whether the job is to be gone on with; false when somebody wants to end it.
    pub is_wanted: Option<bool>,
    /// When the lease ends now.
    pub expires_at: Option<Timestamp>,
    /// Why the report changed nothing.
    pub code: Option<String>,
    /// That in a sentence.
    pub error: Option<String>,
}

impl Answered {
    pub(super) fn nothing(lease: Uuid) -> Self {
        Self {
            lease,
            id: None,
            state: None,
            is_wanted: None,
            expires_at: None,
            code: None,
            error: None,
        }
    }

    pub(super) fn refused(lease: Uuid, error: &Error) -> Self {
        Self {
            code: Some(error.code().to_owned()),
            error: Some(error.message().to_owned()),
            ..Self::nothing(lease)
        }
    }
}

impl From<Alive> for Answered {
    fn from(alive: Alive) -> Self {
        Self {
            is_wanted: Some(alive.is_wanted),
            expires_at: Some(alive.expires_at),
            ..Self::nothing(alive.lease)
        }
    }
}

impl From<Settled> for Answered {
    fn from(settled: Settled) -> Self {
        Self {
            id: Some(settled.job),
            state: Some(settled.state),
            ..Self::nothing(settled.lease)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(action: Action, fill: impl FnOnce(&mut Report), expected: Result<(), &str>) {
        let mut report = Report::new(Uuid::nil(), action);
        fill(&mut report);
        let checked = report.check().map(|_| ());
        let checked = checked.map_err(|error| error.message().to_owned());
        assert_eq!(checked, expected.map_err(str::to_owned));
    }

    #[test]
    fn a_report_that_makes_no_sense_says_what_is_expected() {
        let no_code = Err("code: expected a name in upper case, such as PRINTER_AWAY");
        check(Action::Complete, |_| {}, Ok(()));
        check(Action::Fail, |_| {}, no_code);
        check(
            Action::Fail,
            |report| report.code = Some("AWAY\n".to_owned()),
            no_code,
        );
        check(
            Action::Fail,
            |report| report.code = Some("AWAY".to_owned()),
            Ok(()),
        );
        check(
            Action::Snooze,
            |_| {},
            Err("delay: expected seconds, at most a year"),
        );
        check(
            Action::Heartbeat,
            |report| report.lease_seconds = Some(0.0),
            Err("lease_seconds: expected a number from 1 to 3600"),
        );
        check(Action::Logs, |_| {}, Err("lines: expected 1 to 100 lines"));
    }
}

//! Kinds that act on what the operator has as a whole. Over HTTP only operators enqueue them: who could say how many archives of the
//! database stay could remove all older ones. Schedules and SQL of the database's owner pass this by, as does a plugin that calls
//! the SQL functions, which the operator has granted it.

use nself_plugin_api::{
    Kind,
    prelude::*,
    serde_json::{self, Value},
};
use serde::{Deserialize, Serialize};

use crate::{enqueue::NewJob, error::JobError};

const KINDS: [&str; 3] = ["jobs.base_backup", "jobs.db_backup", "jobs.prune"];

/// A job that somebody may want to enqueue.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    kind: String,
    #[serde(default)]
    options: Value,
}

/// The reserved kind that is in it, if there is one.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    kind: Option<&'static str>,
}

impl Asked {
    pub(crate) fn answer(&self) -> Answer {
        Answer {
            kind: first(&self.kind, &self.options),
        }
    }
}

/// Refuses jobs that only operators may enqueue, also those that would follow others.
pub(crate) fn check(who: &Principal, jobs: &[NewJob]) -> Result<()> {
    if who.kind == Kind::Operator {
        return Ok(());
    }
    jobs.iter().try_for_each(check_job)
}

/// The same for the job that follows a batch.
pub(crate) fn check_batch(who: &Principal, then: Option<&Value>) -> Result<()> {
    if who.kind == Kind::Operator {
        return Ok(());
    }
    check_next(then)
}

/// The same for what a plugin asks for, whoever has asked the plugin.
pub(crate) fn check_job(job: &NewJob) -> Result<()> {
    let options = match job.options() {
        b"" => Value::Null,
        options => serde_json::from_slice(options).map_err(|error| JobError::Option {
            message: format!("options: {error}"),
        })?,
    };
    refuse(first(&job.kind, &options))
}

/// The same for the job that follows a batch of a plugin's.
pub(crate) fn check_next(then: Option<&Value>) -> Result<()> {
    refuse(then.and_then(in_next))
}

fn refuse(kind: Option<&'static str>) -> Result<()> {
    match kind {
        Some(kind) => Err(JobError::Reserved { kind }.into()),
        None => Ok(()),
    }
}

fn first(kind: &str, options: &Value) -> Option<&'static str> {
    let own = KINDS.into_iter().find(|reserved| *reserved == kind);
    own.or_else(|| options["then"].as_array()?.iter().find_map(in_next))
}

fn in_next(next: &Value) -> Option<&'static str> {
    first(next["kind"].as_str().unwrap_or_default(), &next["options"])
}

#[cfg(test)]
mod tests {
    use nself_plugin_api::serde_json::json;

    use super::*;

    #[track_caller]
    fn check_kind(job: Value, expected: Option<&str>) {
        let asked: Asked = serde_json::from_value(job).expect("a job");
        assert_eq!(asked.answer().kind, expected);
    }

    #[test]
    fn a_name_is_the_same_however_it_is_written() {
        let job = r#"{"kind": "a.b", "options": {"\u0074hen": [{"kind": "jobs.\u0070rune"}]}}"#;
        let job: NewJob = serde_json::from_str(job).expect("a job");
        let refused = check_job(&job).expect_err("it is refused");
        assert_eq!(
            (refused.status(), refused.code()),
            (403, "JOB_KIND_RESERVED")
        );
        let plain: NewJob = serde_json::from_str(r#"{"kind": "a.b"}"#).expect("a job");
        assert!(check_job(&plain).is_ok());
    }

    #[test]
    fn a_reserved_kind_is_found_wherever_it_stands_in_a_job() {
        let plain = json!({"kind": "a.b"});
        let backup = json!({"kind": "jobs.db_backup", "payload": {"keep": 1}});
        check_kind(json!({"kind": "jobs.prune"}), Some("jobs.prune"));
        check_kind(json!({"kind": "jobs.http_request", "options": null}), None);
        check_kind(json!({"kind": "a.b", "options": {"then": [plain]}}), None);
        check_kind(
            json!({"kind": "a.b", "options": {"then": [plain, backup]}}),
            Some("jobs.db_backup"),
        );
        check_kind(
            json!({"kind": "a.b", "options": {"then": [{"kind": "a.c", "options": {"then": [backup]}}]}}),
            Some("jobs.db_backup"),
        );
        // The name in a payload is only a word.
        check_kind(
            json!({"kind": "a.b", "options": {"then": [{"kind": "a.c", "payload": backup}]}}),
            None,
        );
    }
}

//! What a schedule does when it fires: read from its definition, and brought into one of the two forms that `scheduler.act` knows, a
//! job or an event. Everything that may take long or fail is a job, so that retries, limits and history are those of jobs.

use nself_plugin_api::{
    jiff::Timestamp,
    prelude::{Error, JobRun, Result},
    serde_json::{Map, Value, json},
};
use serde::{Deserialize, Serialize};

use crate::refusal::ScheduleError;

/// The kind of job that runs a schedule which a plugin declares.
pub(crate) const PLUGIN_SCHEDULE: &str = "scheduler.plugin_schedule";
/// The kind of job that delivers a trigger of Hasura's to its webhook.
pub(crate) const WEBHOOK: &str = "scheduler.webhook";
/// The kind of job that calls a capability of another plugin.
pub(crate) const CALL: &str = "scheduler.capability_call";
/// The kind of job that sends a request; the jobs plugin works it.
const HTTP: &str = "jobs.http_request";
/// The kind of job that starts a workflow; whoever keeps workflows works it.
const WORKFLOW: &str = "orchestrator.start";
/// What the type of an event begins with: all that this plugin may emit.
const EVENT_PREFIX: &str = "schedule.";
/// The largest target, as text.
const BYTES_MAX: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    kind: String,
    #[serde(default)]
    payload: Map<String, Value>,
    #[serde(default)]
    options: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    subject: Option<String>,
    #[serde(default)]
    data: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Http {
    #[serde(default = "post")]
    method: String,
    url: String,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    body: Value,
    #[serde(default)]
    options: Map<String, Value>,
}

/// A workflow that is started. It runs for the family that the options name.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Workflow {
    namespace: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(default)]
    input: Value,
    #[serde(default, skip_serializing)]
    options: Map<String, Value>,
}

/// What of another plugin is called. The answer is the job's result.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Call {
    pub id: String,
    pub method: String,
    #[serde(default)]
    pub payload: Map<String, Value>,
    #[serde(default)]
    options: Map<String, Value>,
}

fn post() -> String {
    "POST".to_owned()
}

/// What the target of the schedule `name` means.
///
/// # Errors
///
/// It cannot be done, and why.
pub(crate) fn action(name: &str, target: &Value) -> Result<Value, ScheduleError> {
    let refuse = |problem: &str| ScheduleError::Target(problem.to_owned());
    if target.to_string().len() > BYTES_MAX {
        return Err(refuse(
            "is longer than 64 KiB: enqueue the name of what is large",
        ));
    }
    let object = target.as_object().filter(|object| object.len() == 1);
    let Some((kind, inner)) = object.and_then(|object| object.iter().next()) else {
        return Err(refuse(
            "must be an object with one of the keys job, workflow, event, http, capability",
        ));
    };
    match kind.as_str() {
        "job" => {
            let job: Job = read(kind, inner)?;
            if !is_kind(&job.kind) {
                return Err(refuse("job.kind: must be a name such as \"photos.resize\""));
            }
            check_options("job", &job.options)?;
            Ok(json!({"kind": job.kind, "payload": job.payload, "options": job.options}))
        }
        "event" => {
            let event: Event = read(kind, inner)?;
            if !event.kind.starts_with(EVENT_PREFIX) || !is_kind(&event.kind) {
                return Err(refuse(
                    "event.type: must begin with \"schedule.\": other events are told by those whom they happen to",
                ));
            }
            let subject = event.subject.unwrap_or_else(|| name.to_owned());
            Ok(json!({"event": event.kind, "subject": subject, "data": event.data}))
        }
        "http" => {
            let http: Http = read(kind, inner)?;
            let method = http.method.to_ascii_uppercase();
            if !matches!(&*method, "GET" | "POST" | "PUT" | "PATCH" | "DELETE") {
                return Err(refuse(
                    "http.method: must be GET, POST, PUT, PATCH or DELETE",
                ));
            }
            if !is_url(&http.url) {
                return Err(refuse("http.url: must begin with https:// or http://"));
            }
            if let Some((name, _)) = http.headers.iter().find(|(_, value)| !value.is_string()) {
                return Err(ScheduleError::Target(format!(
                    "http.headers.{name}: must be a text"
                )));
            }
            check_options("http", &http.options)?;
            let payload = json!({"method": method, "url": http.url, "headers": http.headers, "body": http.body});
            Ok(json!({"kind": HTTP, "payload": payload, "options": http.options, "headers": true}))
        }
        "workflow" => {
            let workflow: Workflow = read(kind, inner)?;
            if workflow.namespace.is_empty() || workflow.name.is_empty() {
                return Err(refuse("workflow: must have a namespace and a name"));
            }
            check_options("workflow", &workflow.options)?;
            Ok(json!({"kind": WORKFLOW, "payload": workflow, "options": workflow.options}))
        }
        "capability" => {
            let call: Call = read(kind, inner)?;
            if !is_capability(&call.id) {
                return Err(refuse(
                    "capability.id: must be a capability of another plugin, such as \"mail.send/1\"",
                ));
            }
            check_options("capability", &call.options)?;
            // The job says which schedule it is for and no more: whoever may enqueue jobs does not choose what is called.
            Ok(json!({"kind": CALL, "payload": {"schedule": name}, "options": call.options}))
        }
        _ => Err(ScheduleError::Target(format!(
            "{kind:?} is none of job, workflow, event, http, capability"
        ))),
    }
}

/// What a schedule that a plugin declares means.
pub(crate) fn of_plugin(plugin: &str, schedule: &str) -> Value {
    json!({"kind": PLUGIN_SCHEDULE, "payload": {"plugin": plugin, "schedule": schedule}, "options": {}})
}

/// The time that a job of this plugin's own kinds is for.
///
/// # Errors
///
/// Somebody else than a schedule has enqueued it, without one.
pub(crate) fn scheduled_at(job: &JobRun) -> Result<Timestamp> {
    let scheduled_at = job.context()?.scheduled_at;
    scheduled_at.ok_or_else(|| Error::discard("it was enqueued without the option scheduled_at"))
}

/// Whether a text can be the address of a request.
pub(crate) fn is_url(text: &str) -> bool {
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    rest.is_some_and(|rest| !rest.is_empty())
        && text.len() <= 2_048
        && !text.contains(char::is_whitespace)
}

/// What the schedule says of its jobs itself cannot be said in their options.
fn check_options(target: &str, options: &Map<String, Value>) -> Result<(), ScheduleError> {
    let own = ["source", "scheduled_at", "fired_at"];
    match own.iter().find(|option| options.contains_key(**option)) {
        Some(option) => Err(ScheduleError::Target(format!(
            "{target}.options.{option}: is set by the schedule, and cannot be another"
        ))),
        None => Ok(()),
    }
}

fn is_kind(text: &str) -> bool {
    let allowed = |one: char| one.is_ascii_alphanumeric() || matches!(one, '_' | '.' | ':' | '-');
    text.len() <= 128
        && text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && text.chars().all(allowed)
}

fn is_capability(text: &str) -> bool {
    let is_host = text.starts_with("nself.");
    text.split_once('/')
        .is_some_and(|(name, number)| is_kind(name) && number.parse::<u16>().is_ok() && !is_host)
}

fn read<'a, T: Deserialize<'a>>(kind: &str, inner: &'a Value) -> Result<T, ScheduleError> {
    T::deserialize(inner).map_err(|error| ScheduleError::Target(format!("{kind}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(target: &Value, expected: &str) {
        let refused = action("a", target).expect_err("it is refused").to_string();
        assert!(refused.contains(expected), "{refused}");
    }

    #[test]
    fn targets_become_jobs_and_events() {
        let job = json!({"job": {"kind": "photos.sweep", "payload": {"a": 1}, "options": {"priority": 1}}});
        assert_eq!(action("a", &job), Ok(job["job"].clone()));
        let event = action("nightly", &json!({"event": {"type": "schedule.nightly"}}));
        assert_eq!(
            event,
            Ok(json!({"event": "schedule.nightly", "subject": "nightly", "data": {}}))
        );
        let http =
            action("a", &json!({"http": {"url": "https://example.org"}})).expect("it is one");
        assert_eq!(
            (&http["kind"], &http["payload"]["method"]),
            (&json!("jobs.http_request"), &json!("POST"))
        );
        let workflow = json!({"workflow": {"namespace": "home", "name": "tea", "input": 1, "options": {"priority": 1}}});
        assert_eq!(
            action("a", &workflow),
            Ok(json!({
                "kind": "orchestrator.start", "payload": {"namespace": "home", "name": "tea", "input": 1}, "options": {"priority": 1},
            }))
        );
        let call = json!({"capability": {"id": "mail.send/1", "method": "send", "payload": {"to": "a@b.org"}}});
        assert_eq!(
            action("nightly", &call),
            Ok(json!({"kind": CALL, "payload": {"schedule": "nightly"}, "options": {}}))
        );
    }

    #[test]
    fn what_cannot_be_done_says_why() {
        for (target, expected) in [
            (json!("x"), "one of the keys"),
            (
                json!({"job": {"kind": "a"}, "http": {"url": "https://a"}}),
                "one of the keys",
            ),
            (json!({"job": {"kind": "A b"}}), "job.kind"),
            (
                json!({"job": {"kind": "a", "payload": [1]}}),
                "job: invalid type",
            ),
            (
                json!({"job": {"kind": "a", "moon": 1}}),
                "unknown field `moon`",
            ),
            (
                json!({"event": {"type": "family.joined"}}),
                "must begin with",
            ),
            (json!({"http": {"url": "ftp://a"}}), "http.url"),
            (
                json!({"http": {"url": "http://a", "headers": {"x": 1}}}),
                "http.headers.x",
            ),
            (
                json!({"job": {"kind": "a", "options": {"fired_at": "2030-01-01"}}}),
                "job.options.fired_at",
            ),
            (
                json!({"workflow": {"name": "a"}}),
                "missing field `namespace`",
            ),
            (
                json!({"workflow": {"namespace": "a", "name": ""}}),
                "a namespace and a name",
            ),
            (
                json!({"capability": {"id": "mail.send/1"}}),
                "missing field `method`",
            ),
            (
                json!({"capability": {"id": "nself.dump/1", "method": "make"}}),
                "capability.id",
            ),
            (
                json!({"capability": {"id": "mail.send", "method": "send"}}),
                "capability.id",
            ),
            (json!({"mail": {}}), "none of job, workflow, event"),
        ] {
            check_refused(&target, expected);
        }
    }
}

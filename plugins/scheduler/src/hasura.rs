//! Hasura's scheduled triggers: `cron_triggers.yaml` and one-off events, delivered to their webhooks in Hasura's own form.
//!
//! What a job carries is the trigger's name. Address and headers are looked up when it is delivered, and the environment is asked
//! then, so that no secret is stored and nobody who may enqueue a job can choose where a secret goes.

use std::time::Duration;

use nself_plugin_api::{
    jiff::Timestamp,
    prelude::{Cx, Error, JobRun, Result, Schema},
    serde_json::{Map, Value, json},
    uuid::Uuid,
};
use serde::{Deserialize, Serialize};

use crate::{
    Scheduler, config,
    plan::Wanted,
    refusal::ScheduleError,
    schedule::{Definition, MissedRule, Overlap},
    store, target,
};

/// Longest pause that a webhook can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// A header of a webhook.
#[derive(Debug, Clone, Deserialize, Serialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The variable of the environment that has its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from_env: Option<String>,
}

/// How often a delivery is tried.
#[derive(Debug, Clone, Deserialize, Serialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RetryConf {
    /// Attempts after the first.
    pub num_retries: u32,
    /// Time between two attempts.
    pub retry_interval_seconds: u32,
    /// Time for one attempt.
    pub timeout_seconds: u32,
    /// How late an event is still delivered.
    pub tolerance_seconds: u32,
}

impl Default for RetryConf {
    fn default() -> Self {
        Self {
            num_retries: 0,
            retry_interval_seconds: 10,
            timeout_seconds: 60,
            tolerance_seconds: 21_600,
        }
    }
}

/// A row of `cron_triggers.yaml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trigger {
    pub name: String,
    webhook: String,
    schedule: String,
    #[serde(default)]
    payload: Value,
    #[serde(default)]
    headers: Option<Vec<Header>>,
    #[serde(default)]
    retry_conf: Option<RetryConf>,
    #[serde(default, rename = "include_in_metadata")]
    _include_in_metadata: bool,
    #[serde(default)]
    comment: Option<String>,
}

/// The arguments of `create_scheduled_event`.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScheduledEvent {
    /// Where it is delivered.
    pub webhook: String,
    /// When.
    pub schedule_at: Timestamp,
    /// What is delivered.
    #[serde(default)]
    pub payload: Value,
    /// Headers of the request.
    #[serde(default)]
    pub headers: Option<Vec<Header>>,
    /// How often it is tried.
    #[serde(default)]
    pub retry_conf: Option<RetryConf>,
    /// A sentence for people.
    #[serde(default)]
    pub comment: Option<String>,
}

/// What is stored of a webhook.
#[derive(Debug, Deserialize, Serialize)]
struct Receiver {
    webhook: String,
    payload: Value,
    headers: Vec<Header>,
    timeout_seconds: u32,
}

/// A trigger as a schedule of ours.
///
/// # Errors
///
/// The first field that is wrong.
pub(crate) fn wanted(trigger: &Trigger) -> Result<Wanted, ScheduleError> {
    let retry = trigger.retry_conf.clone().unwrap_or_default();
    let mut wanted = delivery(
        trigger.name.clone(),
        trigger.schedule.clone(),
        &trigger.webhook,
        &trigger.payload,
        trigger.headers.as_deref(),
        &retry,
    )?;
    wanted.definition.comment.clone_from(&trigger.comment);
    // Hasura makes all events of the time that it was away, and delivers those within the tolerance.
    wanted.definition.missed = MissedRule::All;
    wanted.definition.check_fields()?;
    Ok(wanted)
}

/// A one-off event as a schedule of ours.
///
/// # Errors
///
/// The first field that is wrong.
pub(crate) fn one_off(id: Uuid, event: &ScheduledEvent) -> Result<Wanted, ScheduleError> {
    let retry = event.retry_conf.clone().unwrap_or_default();
    let mut wanted = delivery(
        format!("scheduled-event/{id}"),
        format!("@at {}", event.schedule_at),
        &event.webhook,
        &event.payload,
        event.headers.as_deref(),
        &retry,
    )?;
    wanted.definition.comment.clone_from(&event.comment);
    wanted.definition.check_fields()?;
    Ok(wanted)
}

fn delivery(
    name: String,
    spec: String,
    webhook: &str,
    payload: &Value,
    headers: Option<&[Header]>,
    retry: &RetryConf,
) -> Result<Wanted, ScheduleError> {
    let headers = headers.unwrap_or_default().to_vec();
    if !webhook.starts_with("{{") && !target::is_url(webhook) {
        return Err(ScheduleError::Target(
            "webhook: must begin with https://, http:// or {{A_VARIABLE}}".to_owned(),
        ));
    }
    for header in &headers {
        if header.value.is_some() == header.value_from_env.is_some() {
            let name = &header.name;
            return Err(ScheduleError::Target(format!(
                "headers: {name}: needs value or value_from_env"
            )));
        }
    }
    if retry.num_retries > 999 || retry.timeout_seconds == 0 || retry.timeout_seconds > 3_600 {
        return Err(ScheduleError::Target(
            "retry_conf: num_retries is at most 999, timeout_seconds from 1 to 3600".to_owned(),
        ));
    }
    let options = json!({
        "attempts_max": retry.num_retries + 1,
        "timeout": retry.timeout_seconds + 5,
        "retry": {"strategy": "fixed", "base": retry.retry_interval_seconds, "jitter": "none"},
    });
    let action = json!({"kind": target::WEBHOOK, "payload": {"trigger": name}, "options": options});
    let receiver = Receiver {
        webhook: webhook.to_owned(),
        payload: payload.clone(),
        headers,
        timeout_seconds: retry.timeout_seconds,
    };
    let target = json!({"hasura": receiver});
    let mut definition = Definition::usual(name, spec, target);
    definition.zone = Some("UTC".to_owned());
    definition.overlap = Overlap::Allow;
    definition.missed_window_seconds = retry.tolerance_seconds.into();
    Ok(Wanted { definition, action })
}

/// What the job of a delivery carries.
#[derive(Deserialize)]
struct Delivery {
    trigger: String,
}

/// Delivers an event to its webhook.
pub(crate) async fn deliver(cx: Cx<Scheduler>, job: JobRun) -> Result<Value> {
    let Delivery { trigger } = job.json()?;
    let scheduled_at = target::scheduled_at(&job)?;
    let stored = store::schedules::find(&cx.db(), &trigger).await?;
    let Some(stored) = stored.filter(|stored| matches!(&*stored.owner, "hasura" | "event")) else {
        return Err(Error::discard(format!("the trigger {trigger:?} is gone")));
    };
    let is_trusted = stored.owner == "hasura";
    let hook =
        Receiver::deserialize(&stored.definition.target["hasura"]).map_err(Error::internal)?;
    let lookup = |name: &str| variable(&cx.plugin().config.hasura_variables, is_trusted, name);
    let url = filled(&hook.webhook, lookup)?;
    let mut body = Map::new();
    let id = Uuid::from_u64_pair(
        job.id.cast_unsigned(),
        scheduled_at.as_second().cast_unsigned(),
    );
    body.insert("id".to_owned(), id.to_string().into());
    body.insert("scheduled_time".to_owned(), scheduled_at.to_string().into());
    body.insert("payload".to_owned(), hook.payload);
    if is_trusted {
        body.insert("name".to_owned(), trigger.clone().into());
    } else {
        body.insert(
            "created_at".to_owned(),
            stored.created_at.to_string().into(),
        );
    }
    if let Some(comment) = stored.definition.comment {
        body.insert("comment".to_owned(), comment.into());
    }
    let http = cx.http();
    let mut request = http
        .request("POST", &url)
        .timeout(Duration::from_secs(hook.timeout_seconds.into()));
    for header in &hook.headers {
        let value = match (&header.value, &header.value_from_env) {
            (Some(value), _) => value.clone(),
            (None, Some(name)) => lookup(name)?,
            (None, None) => continue,
        };
        request = request.header(&header.name, &value);
    }
    let answer = request.json(&body)?.send().await?;
    let status = answer.status();
    if (200..300).contains(&status) {
        return Ok(json!({"status": status}));
    }
    let error = Error::new(
        502,
        "SCHEDULE_WEBHOOK",
        format!("the webhook of {trigger:?} answered {status}"),
    );
    let after = answer
        .headers()
        .get("retry-after")
        .and_then(|text| text.to_str().ok()?.parse().ok());
    Err(match after {
        Some(seconds) => error.with_retry_after(Duration::from_secs(seconds).min(RETRY_AFTER_MAX)),
        None => error,
    })
}

/// A variable that a trigger names. Those of the host itself are none of its business; what comes over HTTP and not from the
/// operator's file may only name what the operator allows.
fn variable(allowed: &[String], is_trusted: bool, name: &str) -> Result<String> {
    let is_allowed = allowed.iter().any(|allowed| allowed == name);
    let is_own = name.starts_with("NSELF_") || name == "DATABASE_URL";
    if !is_allowed && (!is_trusted || is_own) {
        return Err(Error::discard(format!(
            "the variable {name} is not among plugins.scheduler.config.hasura_variables"
        )));
    }
    config::variable(name).ok_or_else(|| Error::discard(format!("the variable {name} is not set")))
}

/// A text with its `{{VARIABLES}}` filled in.
fn filled(text: &str, lookup: impl Fn(&str) -> Result<String>) -> Result<String> {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else {
            break;
        };
        whole.push_str(before);
        whole.push_str(&lookup(name.trim())?);
        rest = after;
    }
    whole.push_str(rest);
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in() {
        let lookup = |name: &str| match name {
            "A" => Ok("https://a".to_owned()),
            _ => Err(Error::discard("no")),
        };
        assert_eq!(
            filled("{{A}}/x/{{ A }}", lookup).expect("known"),
            "https://a/x/https://a"
        );
        assert_eq!(
            filled("https://b/{{", lookup).expect("none"),
            "https://b/{{"
        );
        assert!(filled("{{B}}", lookup).is_err());
    }

    #[test]
    fn a_trigger_of_a_stranger_reads_no_variable_that_is_not_allowed() {
        let allowed = ["PATH".to_owned()];
        assert!(variable(&allowed, false, "PATH").is_ok());
        assert!(variable(&[], false, "PATH").is_err());
        assert!(variable(&[], true, "PATH").is_ok());
        for own in ["NSELF_DATABASE__URL", "DATABASE_URL"] {
            let refused = variable(&[], true, own).expect_err("it is the host's");
            assert!(refused.message().contains("hasura_variables"), "{refused}");
        }
    }
}

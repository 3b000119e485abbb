//! Kinds, and the endpoints that operators give them.

use nself_plugin_api::{http::Uri, prelude::*, serde_json::Value};
use serde::{Deserialize, Serialize};

use crate::{
    Jobs, engine,
    error::{JobError, refused},
    push::NewSecret,
    store::endpoints::{self, KindShown, NewEndpoint},
};

/// Longest address of an endpoint.
const ENDPOINT_BYTES_MAX: usize = 2_048;
/// Longest time for one attempt, seconds.
const TIMEOUT_MAX: f64 = 86_400.0;

/// A kind whose jobs are sent to an endpoint.
#[derive(Debug, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKind {
    /// Where its jobs are sent: an address that begins with https:// or http://.
    endpoint: String,
    /// What signs them, `whsec_` and base64. Made here when the kind has none yet.
    #[serde(default)]
    secret: Option<String>,
    /// Make a new secret in place of the one that the kind has.
    #[serde(default)]
    new_secret: bool,
    /// Where its jobs wait when they do not say.
    #[serde(default = "default_queue")]
    queue: String,
    /// Attempts before a job is given up, from 1 to 1000.
    #[serde(default = "default_attempts")]
    attempts_max: i16,
    /// Seconds for one attempt.
    #[serde(default = "default_timeout")]
    timeout: f64,
    /// Which finished jobs stay.
    #[serde(default)]
    keep: Kept,
    /// Tell completed jobs to the event log, as discarded and cancelled ones always are.
    #[serde(default)]
    announce: bool,
    /// How attempts follow each other: strategy, base, cap, jitter, codes.
    #[serde(default)]
    retry: Option<Value>,
}

/// Which finished jobs stay to be looked at.
#[derive(Debug, Clone, Copy, Default, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
enum Kept {
    None,
    Failed,
    #[default]
    All,
}

fn default_queue() -> String {
    "default".to_owned()
}

fn default_attempts() -> i16 {
    10
}

fn default_timeout() -> f64 {
    30.0
}

/// A kind that was written.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Written {
    /// The kind.
    kind: String,
    /// Where its jobs are sent.
    endpoint: String,
    /// The secret, when it is new. It is not shown again.
    secret: Option<String>,
}

pub(crate) async fn list(cx: Cx<Jobs>) -> Result<Data<Vec<KindShown>>> {
    endpoints::shown(&cx.db(), None).await.map(Data)
}

pub(crate) async fn show(cx: Cx<Jobs>, Path(kind): Path<String>) -> Result<Data<KindShown>> {
    let shown = endpoints::shown(&cx.db(), Some(&kind)).await?;
    let shown = shown.into_iter().next();
    Ok(Data(shown.ok_or(JobError::KindNotFound { kind })?))
}

pub(crate) async fn put(
    cx: Cx<Jobs>,
    principal: Principal,
    Path(kind): Path<String>,
    Json(new): Json<NewKind>,
) -> Result<Data<Written>> {
    let origin = origin(&new.endpoint)?;
    let timeout_ms = timeout_ms(new.timeout)?;
    if !(1..=1_000).contains(&new.attempts_max) {
        return Err(wrong("attempts_max", "an integer from 1 to 1000"));
    }
    let given = new.secret.as_deref().map(NewSecret::read).transpose()?;
    not_declared(&cx, &kind)?;
    let tx = cx.db().begin().await?;
    let held = endpoints::lock_secret(&tx, &kind).await?;
    let (secret, sealed_secret) = match (given, held) {
        (None, Some(held)) if !new.new_secret => (None, held),
        (given, _) => {
            let secret = given.map_or_else(|| NewSecret::make(&cx), Ok)?;
            let sealed = secret.seal(&cx, &kind)?;
            (Some(secret.text), sealed)
        }
    };
    let written = NewEndpoint {
        kind: &kind,
        queue: &new.queue,
        attempts_max: new.attempts_max,
        timeout_ms,
        keep: match new.keep {
            Kept::None => "none",
            Kept::Failed => "failed",
            Kept::All => "all",
        },
        announce: new.announce,
        retry: new.retry.as_ref(),
        endpoint: &new.endpoint,
        sealed_secret: &sealed_secret,
    };
    endpoints::put(&tx, &written).await.map_err(explained)?;
    let actor = &principal.subject;
    endpoints::audit(&tx, "jobs.kind_set", &kind, Some(&origin), actor).await?;
    tx.commit().await?;
    engine::reread_kinds(&cx).await;
    Ok(Data(Written {
        kind,
        endpoint: new.endpoint,
        secret,
    }))
}

pub(crate) async fn remove(
    cx: Cx<Jobs>,
    principal: Principal,
    Path(kind): Path<String>,
) -> Result<NoContent> {
    not_declared(&cx, &kind)?;
    let tx = cx.db().begin().await?;
    if !endpoints::remove(&tx, &kind).await? {
        return Err(JobError::KindNotFound { kind }.into());
    }
    endpoints::audit(&tx, "jobs.kind_deleted", &kind, None, &principal.subject).await?;
    tx.commit().await?;
    engine::reread_kinds(&cx).await;
    Ok(NoContent)
}

/// A kind that a running plugin works is that plugin's.
fn not_declared(cx: &Cx<Jobs>, kind: &str) -> Result<()> {
    let declared = cx.handlers().list()?;
    let by = declared
        .into_iter()
        .find(|plugin| plugin.jobs.iter().any(|job| job.kind == kind));
    by.map_or(Ok(()), |by| {
        let kind = kind.to_owned();
        Err(JobError::KindDeclared {
            kind,
            plugin: by.plugin,
        }
        .into())
    })
}

/// Scheme, host and port of an endpoint: what may be written where others read. The rest of an address often is a secret.
fn origin(endpoint: &str) -> Result<String> {
    let expected = "an address that begins with https:// or http://, without a user name";
    let uri: Option<Uri> = endpoint.parse().ok();
    let uri = uri.filter(|_| endpoint.len() <= ENDPOINT_BYTES_MAX);
    let uri = uri.ok_or_else(|| wrong("endpoint", expected))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some(scheme @ ("http" | "https")), Some(place)) if !place.as_str().contains('@') => {
            Ok(format!("{scheme}://{place}"))
        }
        _ => Err(wrong("endpoint", expected)),
    }
}

fn timeout_ms(seconds: f64) -> Result<i32> {
    if !(0.001..=TIMEOUT_MAX).contains(&seconds) {
        return Err(wrong("timeout", "seconds, at most a day"));
    }
    let millis = std::time::Duration::from_secs_f64(seconds).as_millis();
    Ok(i32::try_from(millis).unwrap_or(i32::MAX).max(1))
}

fn wrong(field: &'static str, expected: &'static str) -> Error {
    JobError::Kind { field, expected }.into()
}

/// What the table says of a kind or a queue that it does not take.
fn explained(error: Error) -> Error {
    match error.constraint().as_deref() {
        Some("kinds_form") => wrong("kind", "a name such as \"photos.resize\""),
        Some("queues_name_form") => wrong("queue", "the name of a queue, in lower case"),
        _ => refused(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_endpoint_only_the_origin_is_written_down() {
        let shown = origin("https://example.org:8443/hooks/secret?token=x").expect("an address");
        assert_eq!(shown, "https://example.org:8443");
        for bad in [
            "",
            "/hooks",
            "ftp://example.org/",
            "https://me:word@example.org/",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}

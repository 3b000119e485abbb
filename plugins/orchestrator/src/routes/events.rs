//! Events in, as CloudEvents over HTTP: structured, binary and in batches.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use nself_plugin_api::{
    http::HeaderMap,
    prelude::*,
    serde_json::{self, Map, Value, json},
    uuid::Uuid,
};
use serde::Serialize;

use super::instances::reach;
use crate::{
    Orchestrator,
    error::WorkflowError,
    hearing,
    outcome::storable,
    reach::Reach,
    store::{
        events::{self, New},
        instances,
    },
};

/// Where events of this plugin come from, and the type of those that workflows emit.
const OWN: &str = "/plugins/orchestrator";
const EMITTED: &str = "workflow.emitted";
/// Most events of a batch.
const BATCH_MAX: usize = 1_000;

/// What became of events.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Taken {
    /// How many came.
    pub received: usize,
    /// How many of them had not come before.
    pub new: usize,
}

pub(crate) async fn take(
    cx: Cx<Orchestrator>,
    who: Principal,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Data<Taken>> {
    let reach =
        reach(&cx, &who).ok_or_else(|| Error::not_found("NOT_FOUND", "there is nothing here"))?;
    let read = read(&headers, &body)?;
    let tx = cx.db().begin().await?;
    let mut new = 0;
    for event in &read {
        new += usize::from(keep(&tx, event, reach).await?);
    }
    tx.commit().await?;
    let received = read.len();
    Ok(Data(Taken { received, new }))
}

async fn keep(tx: &impl Queries, event: &Value, reach: Reach) -> Result<bool> {
    let word = |name: &str| event[name].as_str().unwrap_or_default();
    let named = match event.get("familyid") {
        None => None,
        Some(family) => Some(
            family
                .as_str()
                .and_then(|family| family.parse::<Uuid>().ok())
                .ok_or_else(|| invalid("familyid must be a UUID"))?,
        ),
    };
    let family = match reach {
        Reach::All => named,
        Reach::Family(own) if named.is_none_or(|family| family == own) => Some(own),
        Reach::Family(_) => return Err(invalid("familyid must be that of the active family")),
    };
    let new = New {
        source: word("source"),
        event_id: word("id"),
        kind: word("type"),
        family_id: family,
        is_trusted: reach == Reach::All,
        depth: 0,
        event,
    };
    events::add(tx, &new).await
}

/// An event of the host's log. What a workflow emitted is known already: it was kept when it was emitted, and nobody hears it twice.
/// The end of a run says which workflow it was of, so that others can listen for that of one.
pub(crate) async fn of_the_host(cx: Cx<Orchestrator>, event: Event) -> Result<()> {
    let is_own = event.source == OWN;
    if is_own && event.kind == EMITTED || !hearing::is_heard(&cx, &event).await? {
        return Ok(());
    }
    let run = match event.subject.as_deref().map(str::parse::<Uuid>) {
        Some(Ok(run)) if is_own && event.kind.starts_with("workflow.") => {
            instances::of(&cx.db(), run).await?
        }
        _ => None,
    };
    let depth = run.as_ref().map_or(0, |run| run.depth);
    let data = run.map_or_else(
        || event.data.clone(),
        |run| json!({"namespace": run.namespace, "name": run.name, "version": run.version}),
    );
    let mut told = json!({"specversion": "1.0", "id": event.id, "source": event.source, "type": event.kind, "data": data});
    if let (Some(fields), Some(subject)) = (told.as_object_mut(), &event.subject) {
        fields.insert("subject".to_owned(), json!(subject));
    }
    if let (Some(fields), Some(time)) = (told.as_object_mut(), &event.time) {
        fields.insert("time".to_owned(), json!(time));
    }
    if let (Some(fields), Some(family)) = (told.as_object_mut(), &event.family_id) {
        fields.insert("familyid".to_owned(), json!(family));
    }
    let new = New {
        source: &event.source,
        event_id: &event.id,
        kind: &event.kind,
        family_id: event.family_id,
        is_trusted: true,
        depth,
        event: &told,
    };
    events::add(&cx.db(), &new).await.map(|_| ())
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Value>> {
    let kind = headers
        .get("content-type")
        .and_then(|kind| kind.to_str().ok());
    let kind = kind
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    let events = match kind.to_ascii_lowercase().as_str() {
        "application/cloudevents+json" => vec![json_of(body)?],
        "application/cloudevents-batch+json" => match json_of(body)? {
            Value::Array(events) if events.len() <= BATCH_MAX => events,
            _ => return Err(invalid("a batch is a list of at most 1000 events")),
        },
        kind => vec![binary(headers, kind, body)?],
    };
    events.into_iter().map(checked).collect()
}

fn json_of(body: &[u8]) -> Result<Value> {
    serde_json::from_slice(body).map_err(|error| invalid(&error.to_string()))
}

/// The attributes are headers, the body is the data.
fn binary(headers: &HeaderMap, kind: &str, body: &[u8]) -> Result<Value> {
    let mut event = Map::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else {
            continue;
        };
        event.insert(name.to_owned(), Value::from(text(value.as_bytes())));
    }
    if event.is_empty() {
        return Err(invalid(
            "there are no ce- headers, and the body is no application/cloudevents+json",
        ));
    }
    if !kind.is_empty() {
        event.insert("datacontenttype".to_owned(), Value::from(kind));
    }
    if body.is_empty() {
        return Ok(Value::Object(event));
    }
    let is_json = kind.is_empty() || kind == "application/json" || kind.ends_with("+json");
    if is_json {
        event.insert("data".to_owned(), json_of(body)?);
    } else if let (true, Ok(text)) = (kind.starts_with("text/"), std::str::from_utf8(body)) {
        event.insert("data".to_owned(), Value::from(text));
    } else {
        event.insert("data_base64".to_owned(), Value::from(STANDARD.encode(body)));
    }
    Ok(Value::Object(event))
}

/// What a header says. Senders that do not escape write UTF-8, or what HTTP once had: Latin-1.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => decoded(text),
        Err(_) => decoded(&bytes.iter().copied().map(char::from).collect::<String>()),
    }
}

/// The binding escapes what is not printable ASCII with percent signs.
fn decoded(value: &str) -> String {
    let bytes = value.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let escaped = escaped.and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn checked(event: Value) -> Result<Value> {
    if event.get("specversion").and_then(Value::as_str) != Some("1.0") {
        return Err(invalid("specversion must be \"1.0\""));
    }
    for name in ["id", "source", "type"] {
        let value = event.get(name).and_then(Value::as_str);
        if value.is_none_or(|value| value.is_empty() || value.len() > 1_024) {
            return Err(invalid(&format!(
                "{name} must be a text of 1 to 1024 characters"
            )));
        }
    }
    let subject = event.get("subject");
    if subject.is_some_and(|subject| !subject.is_string()) {
        return Err(invalid("subject must be a text"));
    }
    Ok(storable(event))
}

fn invalid(problem: &str) -> Error {
    WorkflowError::Event(problem.to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_with_their_escapes() {
        assert_eq!(decoded("Euro%20%E2%82%AC 100%"), "Euro \u{20ac} 100%");
        assert_eq!(text("Gr\u{fc}n".as_bytes()), "Gr\u{fc}n");
        assert_eq!(text(b"Gr\xfcn"), "Gr\u{fc}n");
    }

    #[test]
    fn an_event_without_what_the_standard_wants_is_refused() {
        let good = json!({"specversion": "1.0", "id": "1", "source": "/a", "type": "b"});
        assert!(checked(good.clone()).is_ok());
        for name in ["specversion", "id", "source", "type"] {
            let mut bad = good.clone();
            bad.as_object_mut().expect("an object").remove(name);
            assert_eq!(
                checked(bad).expect_err(name).code(),
                "WORKFLOW_EVENT_INVALID"
            );
        }
    }
}

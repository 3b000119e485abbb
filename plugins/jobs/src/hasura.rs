//! The payload of Hasura's event triggers as a job: its input is the event as Hasura has it, but for what differs from one
//! delivery to the next.

use std::str::FromStr;

use nself_plugin_api::{
    prelude::*,
    serde_json::{self, Map, Value, json},
    uuid::Uuid,
};
use serde::Deserialize;

use crate::{enqueue::NewJob, error::JobError};

/// How long a delivery is known again. Longer than Hasura tries, with retries that anybody would set.
const WINDOW: &str = "7 days";

/// What says how the event was delivered, and not what happened.
const DELIVERY: &str = "delivery_info";

/// Most characters of an event's id.
const ID_MAX: usize = 100;

/// As far as it is read here.
#[derive(Deserialize)]
struct Payload {
    id: String,
    #[serde(rename = "trigger")]
    _trigger: Named,
    #[serde(rename = "table")]
    _table: Named,
    event: Event,
}

#[derive(Deserialize)]
struct Named {
    #[serde(rename = "name")]
    _name: String,
}

#[derive(Deserialize)]
struct Event {
    op: Operation,
    data: Data,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Operation {
    Insert,
    Update,
    Delete,
    /// Sent again by an operator, of a row that need not have changed.
    Manual,
}

/// The row before and after. Read as any JSON: what is wrong with it is told without its values.
#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    old: Value,
    #[serde(default)]
    new: Value,
}

/// The job of an event.
///
/// # Errors
///
/// `JOB_HASURA_EVENT` for what is none.
pub(crate) fn job(kind: String, body: &[u8]) -> Result<NewJob> {
    let wrong = |problem: String| JobError::HasuraEvent { problem };
    let payload: Payload =
        serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
    let Data { old, new } = &payload.event.data;
    let is_whole = match payload.event.op {
        Operation::Insert | Operation::Manual => new.is_object(),
        Operation::Update => old.is_object() && new.is_object(),
        Operation::Delete => old.is_object(),
    };
    if !is_whole {
        return Err(
            wrong("event.data: the row that its op speaks of is not there".to_owned()).into(),
        );
    }
    if payload.id.is_empty() || payload.id.chars().count() > ID_MAX {
        return Err(wrong(format!("id: expected 1 to {ID_MAX} characters")).into());
    }
    let mut options = json!({"unique": {"key": format!("hasura/{}", payload.id), "window": WINDOW}, "source": "hasura"});
    // Jobs of one family must not crowd out those of the others.
    if let Some(family_id) = family(new).or_else(|| family(old)) {
        options["family_id"] = family_id.to_string().into();
    }
    let mut input: Map<String, Value> = serde_json::from_slice(body).map_err(Error::internal)?;
    input.remove(DELIVERY);
    NewJob::of(kind, &input, &options)
}

fn family(row: &Value) -> Option<Uuid> {
    Uuid::from_str(row["family_id"].as_str()?).ok()
}

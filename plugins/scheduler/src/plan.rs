//! Bringing the schedules of one owner to what its definitions say: files, Hasura's metadata, a plugin's manifest.

use std::{collections::HashMap, fmt};

use nself_plugin_api::{
    Schema,
    capability::audit,
    jiff::{SignedDuration, Timestamp},
    prelude::{Cx, Queries, Result},
    serde_json::{Value, json},
    uuid::Uuid,
};
use serde::Serialize;

use crate::{
    Scheduler,
    engine::tick::place_after,
    refusal::ScheduleError,
    schedule::Definition,
    store::schedules::{self, New, Stored},
    zone::Zones,
};

/// A schedule that is to be there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted {
    pub definition: Definition,
    /// What its target means.
    pub action: Value,
}

/// What was changed, or would be.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Schema)]
pub(crate) struct Plan {
    /// Names of new schedules.
    pub added: Vec<String>,
    /// Names of schedules with another definition.
    pub changed: Vec<String>,
    /// Names of schedules that nobody defines any more.
    pub removed: Vec<String>,
    /// How many stay as they are.
    pub unchanged: i64,
}

impl Plan {
    /// Whether nothing changes.
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }

    /// Both plans in one.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.added.extend(other.added);
        self.changed.extend(other.changed);
        self.removed.extend(other.removed);
        self.unchanged += other.unchanged;
        self
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (sign, names) in [
            ('+', &self.added),
            ('~', &self.changed),
            ('-', &self.removed),
        ] {
            for name in names {
                write!(to, "{sign} {name}, ")?;
            }
        }
        write!(to, "{} unchanged", self.unchanged)
    }
}

/// Brings the schedules of an owner to what is wanted, in one transaction.
///
/// # Errors
///
/// The first that is wrong; then nothing is changed.
pub(crate) async fn apply(
    cx: &Cx<Scheduler>,
    owner: &str,
    wanted: Vec<Wanted>,
    dry_run: bool,
) -> Result<Plan> {
    let tx = cx.db().begin().await?;
    let plan = apply_in(&tx, &cx.plugin().zones, owner, wanted).await?;
    if dry_run || plan.is_empty() {
        tx.rollback().await?;
        return Ok(plan);
    }
    let entry = audit::Entry {
        action: "scheduler.plan_applied",
        target: owner,
        details: json!({"added": plan.added, "changed": plan.changed, "removed": plan.removed}),
        family_id: None,
        actor: None,
    };
    audit::append_in(&tx, entry).await?;
    schedules::tell(&tx).await?;
    tx.commit().await?;
    Ok(plan)
}

async fn apply_in(
    tx: &impl Queries,
    zones: &Zones,
    owner: &str,
    wanted: Vec<Wanted>,
) -> Result<Plan> {
    schedules::plan_alone(tx).await?;
    let mut known: HashMap<String, Stored> = HashMap::new();
    for stored in schedules::hold_owned(tx, owner).await? {
        known.insert(stored.definition.name.clone(), stored);
    }
    let now = schedules::now(tx).await?;
    let mut plan = Plan::default();
    for one in wanted {
        let name = one.definition.name.clone();
        match known.remove(&name) {
            Some(stored) if is_same(&stored, &one) => plan.unchanged += 1,
            Some(stored) => {
                change(tx, zones, &stored, &one, now).await?;
                plan.changed.push(name);
            }
            None => {
                add(tx, zones, owner, &one, now).await?;
                plan.added.push(name);
            }
        }
    }
    let mut gone: Vec<(String, Uuid)> = known
        .into_iter()
        .map(|(name, stored)| (name, stored.id))
        .collect();
    gone.sort();
    let (removed, ids): (Vec<String>, Vec<Uuid>) = gone.into_iter().unzip();
    schedules::remove(tx, &ids).await?;
    plan.removed = removed;
    Ok(plan)
}

fn is_same(stored: &Stored, wanted: &Wanted) -> bool {
    stored.definition == wanted.definition && stored.action == wanted.action
}

/// Adds a schedule; its id.
pub(crate) async fn add(
    tx: &impl Queries,
    zones: &Zones,
    owner: &str,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<Uuid> {
    add_from(tx, zones, owner, wanted, now, now).await
}

/// Adds a schedule whose first fire may lie in the past, from an instant on; its id.
pub(crate) async fn add_from(
    tx: &impl Queries,
    zones: &Zones,
    owner: &str,
    wanted: &Wanted,
    now: Timestamp,
    from: Timestamp,
) -> Result<Uuid> {
    let definition = &wanted.definition;
    let id = Uuid::now_v7();
    let timing = definition.when().read(now, zones)?;
    let before = if from < now {
        from - SignedDuration::from_secs(1)
    } else {
        now
    };
    let place = place_after(definition, id, &timing, before)?;
    let new = New {
        id,
        owner,
        definition,
        action: &wanted.action,
        created_at: now,
        place,
        zones_version: zones.version(),
    };
    if schedules::insert(tx, new).await? {
        return Ok(id);
    }
    let name = definition.name.clone();
    let held = schedules::find(tx, &name).await?;
    Err(match held {
        Some(held) if held.owner != owner => {
            let owner = held.owner;
            ScheduleError::Owned { name, owner }.into()
        }
        _ => ScheduleError::Exists { name }.into(),
    })
}

/// Gives a schedule that the transaction holds another definition. Its next time is computed anew only when that is about when.
pub(crate) async fn change(
    tx: &impl Queries,
    zones: &Zones,
    stored: &Stored,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<()> {
    let (old, new) = (&stored.definition, &wanted.definition);
    let timing = new.when().read(stored.created_at, zones)?;
    let is_when = old.when() != new.when() || old.jitter_seconds != new.jitter_seconds;
    let mut place = schedules::Place {
        next_at: stored.next_at,
        due_at: stored.due_at,
    };
    if is_when || stored.trouble.is_some() {
        place = place_after(new, stored.id, &timing, now)?;
        if stored.waiting_at.is_some() {
            place.due_at = Some(now);
        }
    }
    let new = New {
        id: stored.id,
        owner: &stored.owner,
        definition: new,
        action: &wanted.action,
        created_at: stored.created_at,
        place,
        zones_version: zones.version(),
    };
    schedules::replace(tx, new).await
}

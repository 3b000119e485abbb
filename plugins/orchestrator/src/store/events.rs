//! Events: kept once, found by those that wait for them.

use nself_plugin_api::{prelude::*, serde_json::Value, uuid::Uuid};

/// An event that came.
#[derive(Debug)]
pub(crate) struct New<'a> {
    pub source: &'a str,
    pub event_id: &'a str,
    pub kind: &'a str,
    pub family_id: Option<Uuid>,
    pub is_trusted: bool,
    /// How many runs stand behind it, each started by the one before.
    pub depth: i32,
    pub event: &'a Value,
}

/// Keeps an event with the job that hands it over; whether it is new.
pub(crate) async fn add(tx: &impl Queries, new: &New<'_>) -> Result<bool> {
    let added = tx
        .execute(
            "with e as ( \
                 insert into orchestrator.events (source, event_id, type, family_id, is_trusted, event, depth) values ($1, $2, $3, $4, $5, $6, $7) \
                 on conflict do nothing returning id \
             ) \
             select jobs.enqueue('orchestrator.event', jsonb_build_object('event', e.id)) from e",
            &[
                &new.source,
                &new.event_id,
                &new.kind,
                &new.family_id,
                &new.is_trusted,
                new.event,
                &new.depth,
            ],
        )
        .await?;
    Ok(added == 1)
}

/// Who an event may be for: instance and need, with the filters of the need.
pub(crate) async fn listeners(
    db: &impl Queries,
    event: Uuid,
) -> Result<Vec<(Uuid, i64, Value, Value)>> {
    db.query(
        "select n.instance_id, n.need, n.filters, e.event from orchestrator.events e \
         join orchestrator.needs n on n.kind = 'event' and (n.types is null or e.type = any (n.types)) \
         join orchestrator.instances i on i.id = n.instance_id and i.ended_at is null \
         where e.id = $1 and e.number > i.events_after \
           and case when i.family_id is null then e.is_trusted else e.family_id = i.family_id or e.family_id is null and e.is_trusted end \
           and not exists (select from orchestrator.deliveries d where d.instance_id = n.instance_id and d.event_id = e.id and d.need = n.need) \
         order by n.instance_id, n.need",
        &[&event],
    )
    .await?
    .map(|row| {
        Ok((
            row.get("instance_id")?,
            row.get("need")?,
            row.get("filters")?,
            row.get("event")?,
        ))
    })
}

/// Events that came while an instance was there and before it listened to them, and that it has not taken yet.
pub(crate) async fn early(
    tx: &impl Queries,
    instance: Uuid,
    family: Option<Uuid>,
    after: i64,
) -> Result<Vec<(Uuid, i64, Value, Value)>> {
    tx.query(
        "with n as (update orchestrator.needs n set is_looked = true \
             where n.instance_id = $1 and n.kind = 'event' and not n.is_looked returning n.need, n.filters, n.types) \
         select e.id, n.need, n.filters, e.event from n \
         join orchestrator.events e on e.number > $3 and (n.types is null or e.type = any (n.types)) \
         where case when $2::uuid is null then e.is_trusted else e.family_id = $2 or e.family_id is null and e.is_trusted end \
           and not exists (select from orchestrator.deliveries d where d.instance_id = $1 and d.event_id = e.id) \
         order by e.number, n.need limit 1000",
        &[&instance, &family, &after],
    )
    .await?
    .map(|row| {
        Ok((
            row.get("id")?,
            row.get("need")?,
            row.get("filters")?,
            row.get("event")?,
        ))
    })
}

/// Notes that an instance has taken an event; false when it had already.
pub(crate) async fn taken(
    tx: &impl Queries,
    instance: Uuid,
    event: Uuid,
    need: i64,
) -> Result<bool> {
    let noted = tx
        .execute(
            "insert into orchestrator.deliveries (instance_id, event_id, need) values ($1, $2, $3) on conflict do nothing",
            &[&instance, &event, &need],
        )
        .await?;
    Ok(noted == 1)
}

/// Deletes events that are too old to be meant, some thousand at a time; how many.
pub(crate) async fn prune(db: &impl Queries, minutes: i32) -> Result<u64> {
    db.execute(
        "delete from orchestrator.events e where e.id = any (array( \
             select o.id from orchestrator.events o where o.received_at < clock_timestamp() - make_interval(mins => $1::integer) \
             order by o.received_at limit 2000))",
        &[&minutes],
    )
    .await
}

/// Whether an instance has taken an event for a need.
pub(crate) async fn is_taken(
    tx: &impl Queries,
    instance: Uuid,
    event: Uuid,
    need: i64,
) -> Result<bool> {
    let row = tx
        .query_opt(
            "select 1 from orchestrator.deliveries d where d.instance_id = $1 and d.event_id = $2 and d.need = $3",
            &[&instance, &event, &need],
        )
        .await?;
    Ok(row.is_some())
}

/// Deletes those of a family; how many.
pub(crate) async fn forget(tx: &impl Queries, family: Uuid) -> Result<u64> {
    tx.execute(
        "delete from orchestrator.events e where e.family_id = $1",
        &[&family],
    )
    .await
}

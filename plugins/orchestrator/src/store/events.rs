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

/// Who an event may be for: instances, each as often as it has needs, with the filters of the need and the event.
pub(crate) async fn listeners(db: &impl Queries, event: Uuid) -> Result<Vec<(Uuid, Value, Value)>> {
    db.query(
        "select n.instance_id, n.filters, e.event from orchestrator.events e \
         join orchestrator.needs n on n.kind = 'event' and (n.types is null or e.type = any (n.types)) \
         join orchestrator.instances i on i.id = n.instance_id and i.ended_at is null \
         where e.id = $1 and e.number > i.events_after \
           and case when i.family_id is null then e.is_trusted else e.family_id = i.family_id or e.family_id is null and e.is_trusted end \
           and not exists (select from orchestrator.deliveries d where d.instance_id = n.instance_id and d.event_id = e.id) \
         order by n.instance_id, n.need",
        &[&event],
    )
    .await?
    .map(|row| {
        Ok((
            row.get("instance_id")?,
            row.get("filters")?,
            row.get("event")?,
        ))
    })
}

/// Events that are shown to an instance in one transaction.
pub(crate) const SHOWN_MAX: usize = 200;

/// An event for a need that it may meet.
#[derive(Debug)]
pub(crate) struct Shown {
    pub id: Uuid,
    pub number: i64,
    pub need: i64,
    pub filters: Value,
    pub event: Value,
}

/// Whether these are all that came.
pub(crate) fn is_all(shown: &[Shown]) -> bool {
    let mut numbers: Vec<i64> = shown.iter().map(|one| one.number).collect();
    numbers.dedup();
    numbers.len() < SHOWN_MAX
}

/// What an instance may hear, and none of its needs has taken: a need that was opened since does not get it once more.
const MAY_HEAR: &str = "case when $2::uuid is null then e.is_trusted else e.family_id = $2 or e.family_id is null and e.is_trusted end \
     and not exists (select from orchestrator.deliveries d where d.instance_id = $1 and d.event_id = e.id)";

/// What came since the instance was there, and after what a need was shown.
const IS_NEW: &str = "e.number > $3 and (e.xid, e.number) > (n.heard_xid, n.heard_number)";

/// What came and was not shown to an instance that is held, in its order; of much the first part. It is noted as shown.
///
/// `event` is one that has come, and is among it also when its transaction ended after those of events with higher numbers. Without
/// one nothing is shown, unless a need is there that nothing was shown to yet, or not all.
pub(crate) async fn show(
    tx: &impl Queries,
    instance: Uuid,
    family: Option<Uuid>,
    after: i64,
    event: Option<Uuid>,
) -> Result<Vec<Shown>> {
    let sql = format!(
        "with n as materialized ( \
             select n.need, n.filters, n.types, n.heard_xid, n.heard_number from orchestrator.needs n \
             where n.instance_id = $1 and n.kind = 'event' and ($4::uuid is not null or exists ( \
                 select from orchestrator.needs o where o.instance_id = $1 and o.kind = 'event' and not o.is_looked)) \
         ), new as ( \
             select e.id, e.xid, e.number, n.need from n cross join lateral unnest(n.types) as t (type) cross join lateral ( \
                 select e.id, e.xid, e.number from orchestrator.events e where e.type = t.type and {IS_NEW} and {MAY_HEAR} \
                 order by e.xid, e.number limit $5) e \
             union \
             select e.id, e.xid, e.number, n.need from n cross join lateral ( \
                 select e.id, e.xid, e.number from orchestrator.events e where n.types is null and {IS_NEW} and {MAY_HEAR} \
                 order by e.xid, e.number limit $5) e \
             union \
             select e.id, e.xid, e.number, n.need from n join orchestrator.events e on n.types is null or e.type = any (n.types) \
             where e.id = $4 and e.number > $3 and {MAY_HEAR} \
         ), shown as materialized ( \
             select r.id, r.xid, r.number, r.need from (select w.*, dense_rank() over (order by w.xid, w.number) as rank from new w) r \
             where r.rank <= $5 \
         ), mark as ( \
             select true as is_all, pg_snapshot_xmin(pg_current_snapshot()) as xid, 0::bigint as number \
             where (select count(distinct s.number) from shown s) < $5 \
             union all \
             (select false, s.xid, s.number from shown s where (select count(distinct c.number) from shown c) >= $5 \
                 order by s.xid desc, s.number desc limit 1) \
         ), noted as ( \
             update orchestrator.needs o set is_looked = m.is_all, \
                 heard_xid = case when (m.xid, m.number) > (o.heard_xid, o.heard_number) then m.xid else o.heard_xid end, \
                 heard_number = case when (m.xid, m.number) > (o.heard_xid, o.heard_number) then m.number else o.heard_number end \
             from mark m where o.instance_id = $1 and o.need in (select n.need from n) \
         ) \
         select s.id, s.number, s.need, n.filters, e.event from shown s join n on n.need = s.need join orchestrator.events e on e.id = s.id \
         order by s.xid, s.number, s.need"
    );
    let most = i64::try_from(SHOWN_MAX).unwrap_or(i64::MAX);
    tx.query(&sql, &[&instance, &family, &after, &event, &most])
        .await?
        .map(|row| {
            Ok(Shown {
                id: row.get("id")?,
                number: row.get("number")?,
                need: row.get("need")?,
                filters: row.get("filters")?,
                event: row.get("event")?,
            })
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
             select o.id from (select f.id, f.received_at from orchestrator.events f order by f.number limit 2000) o \
             where o.received_at < clock_timestamp() - make_interval(mins => $1::integer)))",
        &[&minutes],
    )
    .await
}

/// Deletes those of a family; how many.
pub(crate) async fn forget(tx: &impl Queries, family: Uuid) -> Result<u64> {
    tx.execute(
        "delete from orchestrator.events e where e.family_id = $1",
        &[&family],
    )
    .await
}

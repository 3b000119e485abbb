//! Schedules: read, written, paused.

use nself_plugin_api::{jiff::Timestamp, prelude::*, serde_json::Value, uuid::Uuid};

use crate::schedule::{Definition, GapRule, MissedRule, Overlap, OverlapTime};

/// What hosts listen to: a schedule has changed, look again.
pub(crate) const CHANNEL: &str = "nself_scheduler";

/// A schedule as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub id: Uuid,
    pub owner: String,
    pub definition: Definition,
    pub action: Value,
    pub created_at: Timestamp,
    pub next_at: Option<Timestamp>,
    pub due_at: Option<Timestamp>,
    pub trouble: Option<String>,
    pub paused_at: Option<Timestamp>,
    pub paused_by: Option<String>,
    pub pause_reason: Option<String>,
    pub last_nominal_at: Option<Timestamp>,
    pub last_fired_at: Option<Timestamp>,
    pub last_outcome: Option<String>,
    pub last_late_ms: Option<i64>,
    pub last_job: Option<i64>,
    pub waiting_at: Option<Timestamp>,
    pub fired_total: i64,
    pub skipped_total: i64,
    pub missed_total: i64,
    pub failed_total: i64,
}

/// Where a schedule stands in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The time that is to be fired for.
    pub next_at: Option<Timestamp>,
    /// When it is looked at.
    pub due_at: Option<Timestamp>,
}

/// The columns of a [`Stored`], in a statement that calls the table `s`.
macro_rules! columns {
    () => {
        "s.id, s.name, s.owner, s.comment, s.spec, s.zone, s.gap, s.overlap_time, s.start_at, s.end_at, s.missed, s.missed_max, \
         s.missed_window_seconds, s.overlap, s.jitter_seconds, s.target, s.action, s.created_at, s.next_at, s.due_at, s.trouble, \
         s.paused_at, s.paused_by, s.pause_reason, s.last_nominal_at, s.last_fired_at, s.last_outcome, s.last_late_ms, s.last_job, \
         s.waiting_at, s.fired_total, s.skipped_total, s.missed_total, s.failed_total"
    };
}
pub(super) use columns;

/// A schedule out of its row.
pub(crate) fn stored(row: &Row) -> Result<Stored> {
    Ok(Stored {
        id: row.get("id")?,
        owner: row.get("owner")?,
        definition: Definition {
            name: row.get("name")?,
            spec: row.get("spec")?,
            target: row.get("target")?,
            zone: row.get("zone")?,
            gap: GapRule::of(row.get("gap")?),
            overlap_time: OverlapTime::of(row.get("overlap_time")?),
            start_at: row.get("start_at")?,
            end_at: row.get("end_at")?,
            missed: MissedRule::of(row.get("missed")?),
            missed_max: row.get("missed_max")?,
            missed_window_seconds: row.get("missed_window_seconds")?,
            overlap: Overlap::of(row.get("overlap")?),
            jitter_seconds: row.get("jitter_seconds")?,
            comment: row.get("comment")?,
        },
        action: row.get("action")?,
        created_at: row.get("created_at")?,
        next_at: row.get("next_at")?,
        due_at: row.get("due_at")?,
        trouble: row.get("trouble")?,
        paused_at: row.get("paused_at")?,
        paused_by: row.get("paused_by")?,
        pause_reason: row.get("pause_reason")?,
        last_nominal_at: row.get("last_nominal_at")?,
        last_fired_at: row.get("last_fired_at")?,
        last_outcome: row.get("last_outcome")?,
        last_late_ms: row.get("last_late_ms")?,
        last_job: row.get("last_job")?,
        waiting_at: row.get("waiting_at")?,
        fired_total: row.get("fired_total")?,
        skipped_total: row.get("skipped_total")?,
        missed_total: row.get("missed_total")?,
        failed_total: row.get("failed_total")?,
    })
}

/// The database's clock.
pub(crate) async fn now(db: &impl Queries) -> Result<Timestamp> {
    db.query_one("select clock_timestamp()", &[]).await?.get(0)
}

/// A schedule by its name.
pub(crate) async fn find(db: &impl Queries, name: &str) -> Result<Option<Stored>> {
    let row = db
        .query_opt(
            concat!(
                "select ",
                columns!(),
                " from scheduler.schedules s where s.name = $1"
            ),
            &[&name],
        )
        .await?;
    row.as_ref().map(stored).transpose()
}

/// A schedule by its name, held until the transaction ends: nobody else fires or changes it.
pub(crate) async fn hold(tx: &impl Queries, name: &str) -> Result<Option<Stored>> {
    let row = tx
        .query_opt(
            concat!(
                "select ",
                columns!(),
                " from scheduler.schedules s where s.name = $1 for update"
            ),
            &[&name],
        )
        .await?;
    row.as_ref().map(stored).transpose()
}

/// A page of schedules by name, of one owner or of all.
pub(crate) async fn list(
    db: &impl Queries,
    owner: Option<&str>,
    after: &str,
    limit: i64,
) -> Result<Vec<Stored>> {
    db.query(
        concat!(
            "select ",
            columns!(),
            " from scheduler.schedules s \
             where s.name > $2 and ($1::text is null or s.owner = $1) order by s.name limit $3"
        ),
        &[&owner, &after, &limit],
    )
    .await?
    .map(stored)
}

/// All schedules of an owner, held until the transaction ends.
pub(crate) async fn hold_owned(tx: &impl Queries, owner: &str) -> Result<Vec<Stored>> {
    tx.query(
        concat!(
            "select ",
            columns!(),
            " from scheduler.schedules s where s.owner = $1 order by s.name for update"
        ),
        &[&owner],
    )
    .await?
    .map(stored)
}

/// One plan at a time, until the transaction ends.
pub(crate) async fn plan_alone(tx: &impl Queries) -> Result<()> {
    tx.query(
        "select pg_advisory_xact_lock(hashtextextended('nself scheduler plan', 0))",
        &[],
    )
    .await?;
    Ok(())
}

/// A new schedule: what it is, and where it stands in time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct New<'a> {
    pub id: Uuid,
    pub owner: &'a str,
    pub definition: &'a Definition,
    pub action: &'a Value,
    pub created_at: Timestamp,
    pub place: Place,
    pub zones_version: &'a str,
}

/// Writes a new schedule; false when its name is taken.
pub(crate) async fn insert(tx: &impl Queries, new: New<'_>) -> Result<bool> {
    let of = new.definition;
    let (gap, overlap_time) = (of.gap.word(), of.overlap_time.word());
    let (missed, overlap) = (of.missed.word(), of.overlap.word());
    let inserted = tx
        .execute(
            "insert into scheduler.schedules (id, name, owner, comment, spec, zone, gap, overlap_time, start_at, end_at, missed, missed_max, \
                 missed_window_seconds, overlap, jitter_seconds, target, action, created_at, next_at, due_at, zones_version) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21) \
             on conflict (name) do nothing",
            &[
                &new.id, &of.name.as_str(), &new.owner, &of.comment.as_deref(), &of.spec.as_str(), &of.zone.as_deref(), &gap,
                &overlap_time, &of.start_at, &of.end_at, &missed, &of.missed_max, &of.missed_window_seconds, &overlap,
                &of.jitter_seconds, &of.target, new.action, &new.created_at, &new.place.next_at, &new.place.due_at,
                &new.zones_version,
            ],
        )
        .await?;
    Ok(inserted > 0)
}

/// Writes another definition of a schedule that the transaction holds.
pub(crate) async fn replace(tx: &impl Queries, new: New<'_>) -> Result<()> {
    let of = new.definition;
    let (gap, overlap_time) = (of.gap.word(), of.overlap_time.word());
    let (missed, overlap) = (of.missed.word(), of.overlap.word());
    tx.execute(
        "update scheduler.schedules set comment = $2, spec = $3, zone = $4, gap = $5, overlap_time = $6, start_at = $7, end_at = $8, \
             missed = $9, missed_max = $10, missed_window_seconds = $11, overlap = $12, jitter_seconds = $13, target = $14, action = $15, \
             next_at = $16, due_at = $17, zones_version = $18, trouble = null, updated_at = clock_timestamp() \
         where id = $1",
        &[
            &new.id, &of.comment.as_deref(), &of.spec.as_str(), &of.zone.as_deref(), &gap, &overlap_time, &of.start_at, &of.end_at,
            &missed, &of.missed_max, &of.missed_window_seconds, &overlap, &of.jitter_seconds, &of.target, new.action,
            &new.place.next_at, &new.place.due_at, &new.zones_version,
        ],
    )
    .await?;
    Ok(())
}

/// Removes schedules and their history.
pub(crate) async fn remove(tx: &impl Queries, ids: &[Uuid]) -> Result<u64> {
    tx.execute(
        "delete from scheduler.schedules where id = any ($1)",
        &[&ids],
    )
    .await
}

/// Lets a schedule rest.
pub(crate) async fn pause(
    tx: &impl Queries,
    id: Uuid,
    who: &str,
    reason: Option<&str>,
) -> Result<()> {
    tx.execute(
        "update scheduler.schedules set paused_at = coalesce(paused_at, clock_timestamp()), paused_by = $2, pause_reason = $3 where id = $1",
        &[&id, &who, &reason],
    )
    .await?;
    Ok(())
}

/// Lets a schedule go on from a place in time.
pub(crate) async fn resume(tx: &impl Queries, id: Uuid, place: Place) -> Result<()> {
    tx.execute(
        "update scheduler.schedules set paused_at = null, paused_by = null, pause_reason = null, next_at = $2, due_at = $3 where id = $1",
        &[&id, &place.next_at, &place.due_at],
    )
    .await?;
    Ok(())
}

/// Tells all hosts at the commit that something may be due earlier than they know. Changes are rare, so nobody marks himself
/// as asleep for this.
pub(crate) async fn tell(tx: &impl Queries) -> Result<()> {
    tx.query("select pg_notify($1, '')", &[&CHANNEL]).await?;
    Ok(())
}

/// Schedules whose time was computed with older zone data, or could not be computed; held until the transaction ends.
pub(crate) async fn hold_outdated(
    tx: &impl Queries,
    version: &str,
    limit: i64,
) -> Result<Vec<Stored>> {
    tx.query(
        concat!(
            "select ",
            columns!(),
            " from scheduler.schedules s \
             where s.zones_version < $1 order by s.name limit $2 for update skip locked"
        ),
        &[&version, &limit],
    )
    .await?
    .map(stored)
}

/// Where a schedule stands by newer zone data.
pub(crate) async fn move_to(
    tx: &impl Queries,
    id: Uuid,
    place: Place,
    version: &str,
    trouble: Option<&str>,
) -> Result<()> {
    tx.execute(
        "update scheduler.schedules set next_at = $2, due_at = $3, zones_version = $4, trouble = $5 where id = $1",
        &[&id, &place.next_at, &place.due_at, &version, &trouble],
    )
    .await?;
    Ok(())
}

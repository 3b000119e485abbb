//! What a tick reads and writes: a few statements for many schedules.

use nself_plugin_api::{
    capability::db::Typed, jiff::Timestamp, postgres_types::Type, prelude::*, uuid::Uuid,
};

use super::schedules::{Place, Stored, columns, stored};

/// The database's clock, and when the next schedule is due.
pub(crate) async fn peek(db: &impl Queries) -> Result<(Timestamp, Option<Timestamp>)> {
    let row = db
        .query_one(
            "select clock_timestamp() as now, \
                 (select min(s.due_at) from scheduler.schedules s where s.paused_at is null and s.due_at is not null) as due_at",
            &[],
        )
        .await?;
    Ok((row.get("now")?, row.get("due_at")?))
}

/// Schedules that are due, held until the transaction ends, and the one time that the tick goes by. What another host holds is
/// left to it.
pub(crate) async fn take(tx: &impl Queries, limit: i64) -> Result<Vec<(Timestamp, Stored)>> {
    tx.query(
        concat!(
            "with clock as materialized (select clock_timestamp() as now) \
             select (select now from clock) as now, ", columns!(), " from scheduler.schedules s \
             where s.paused_at is null and s.due_at is not null and s.due_at <= (select now from clock) \
             order by s.due_at limit $1 for update of s skip locked"
        ),
        &[&limit],
    )
    .await?
    .map(|row| Ok((row.get("now")?, stored(row)?)))
}

/// Times to fire for; those of one schedule stand together.
#[derive(Debug, Default)]
pub(crate) struct Fires {
    pub schedules: Vec<Uuid>,
    pub nominals: Vec<Timestamp>,
    pub delays_ms: Vec<i64>,
    /// Whether it is a run that has waited for the one before it.
    pub waits: Vec<bool>,
}

impl Fires {
    pub(crate) fn push(&mut self, schedule: Uuid, nominal: Timestamp, delay_ms: i64, waits: bool) {
        self.schedules.push(schedule);
        self.nominals.push(nominal);
        self.delays_ms.push(delay_ms);
        self.waits.push(waits);
    }
}

/// What became of a time.
#[derive(Debug, Clone)]
pub(crate) struct Fired {
    pub schedule: Uuid,
    pub nominal: Timestamp,
    pub outcome: String,
    pub job: Option<i64>,
    pub late_ms: Option<i64>,
}

/// Fires; times that had been fired already are not in the answer.
pub(crate) async fn fire(
    tx: &impl Queries,
    fires: &Fires,
    origin: &str,
    at: Timestamp,
    careful: bool,
) -> Result<Vec<Fired>> {
    tx.query(
        "select schedule_id, nominal_at, outcome, job_id, late_ms from scheduler.fire($1, $2, $3, $4, $5, $6, $7)",
        &[
            &fires.schedules, &fires.nominals, &fires.delays_ms, &fires.waits, &origin, &at, &careful,
        ],
    )
    .await?
    .map(|row| {
        Ok(Fired {
            schedule: row.get("schedule_id")?,
            nominal: row.get("nominal_at")?,
            outcome: row.get("outcome")?,
            job: row.get("job_id")?,
            late_ms: row.get("late_ms")?,
        })
    })
}

/// How a schedule goes on after a look at it.
#[derive(Debug, Clone)]
pub(crate) struct Move {
    pub id: Uuid,
    pub place: Place,
    pub trouble: Option<String>,
    pub waiting_at: Option<Timestamp>,
    /// The last of its fires in this look.
    pub last: Option<Fired>,
    /// The job of the last one that ran.
    pub last_job: Option<i64>,
    pub fired: i64,
    pub skipped: i64,
    pub missed: i64,
    pub failed: i64,
}

impl Move {
    pub(crate) fn new(schedule: &Stored, place: Place) -> Self {
        Self {
            id: schedule.id,
            place,
            trouble: None,
            waiting_at: schedule.waiting_at,
            last: None,
            last_job: None,
            fired: 0,
            skipped: 0,
            missed: 0,
            failed: 0,
        }
    }

    /// Counts what became of one of its times.
    pub(crate) fn note(&mut self, fired: &Fired) {
        match &*fired.outcome {
            "fired" => {
                self.fired += 1;
                self.last_job = fired.job;
            }
            "waiting" => self.waiting_at = Some(fired.nominal),
            "skipped" => self.skipped += 1,
            _ => self.failed += 1,
        }
        if fired.outcome != "waiting" && self.waiting_at == Some(fired.nominal) {
            self.waiting_at = None;
        }
        self.last = Some(fired.clone());
    }
}

/// Moves schedules that the transaction holds.
pub(crate) async fn advance(tx: &impl Queries, moves: &[Move], at: Timestamp) -> Result<()> {
    let ids: Vec<Uuid> = moves.iter().map(|one| one.id).collect();
    let times = |of: fn(&Move) -> Option<Timestamp>| {
        Typed(
            moves.iter().map(of).collect::<Vec<_>>(),
            Type::TIMESTAMPTZ_ARRAY,
        )
    };
    let numbers = |of: fn(&Move) -> Option<i64>| {
        Typed(moves.iter().map(of).collect::<Vec<_>>(), Type::INT8_ARRAY)
    };
    let texts = |of: fn(&Move) -> Option<&str>| {
        Typed(moves.iter().map(of).collect::<Vec<_>>(), Type::TEXT_ARRAY)
    };
    let (next, due) = (
        times(|one| one.place.next_at),
        times(|one| one.place.due_at),
    );
    let waiting = times(|one| one.waiting_at);
    let nominal = times(|one| one.last.as_ref().map(|last| last.nominal));
    let outcome = texts(|one| one.last.as_ref().map(|last| &*last.outcome));
    let late = numbers(|one| one.last.as_ref().and_then(|last| last.late_ms));
    let job = numbers(|one| one.last_job);
    let trouble = texts(|one| one.trouble.as_deref());
    let (fired, skipped) = (
        numbers(|one| Some(one.fired)),
        numbers(|one| Some(one.skipped)),
    );
    let (missed, failed) = (
        numbers(|one| Some(one.missed)),
        numbers(|one| Some(one.failed)),
    );
    tx.execute(
        "update scheduler.schedules s set next_at = m.next_at, due_at = m.due_at, waiting_at = m.waiting_at, trouble = m.trouble, \
             last_nominal_at = coalesce(m.nominal_at, s.last_nominal_at), last_outcome = coalesce(m.outcome, s.last_outcome), \
             last_fired_at = case when m.nominal_at is null then s.last_fired_at else $14 end, \
             last_late_ms = case when m.nominal_at is null then s.last_late_ms else m.late_ms end, \
             last_job = case when m.fired > 0 then m.job else s.last_job end, fired_total = s.fired_total + m.fired, \
             skipped_total = s.skipped_total + m.skipped, missed_total = s.missed_total + m.missed, \
             failed_total = s.failed_total + m.failed \
         from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
             as m (id, next_at, due_at, waiting_at, nominal_at, outcome, late_ms, job, trouble, fired, skipped, missed, failed) \
         where s.id = m.id",
        &[
            &ids, &next, &due, &waiting, &nominal, &outcome, &late, &job, &trouble, &fired, &skipped, &missed, &failed, &at,
        ],
    )
    .await?;
    Ok(())
}

//! Workers that fetch.

use nself_plugin_api::{
    capability::db::Typed, jiff::Timestamp, postgres_types::Type, prelude::*, serde_json::Value,
    uuid::Uuid,
};

use super::{
    claim::{self, Status},
    finish::{self, Ending},
    raw,
};
use crate::engine::{Job, Place};

/// What a worker asks for.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    pub queue: &'a str,
    pub worker: &'a str,
    pub jobs_max: i32,
    pub lease_seconds: f64,
}

/// Why there is nothing to fetch from a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPull {
    /// There is none of that name.
    Unknown,
    /// Hosts work on it.
    OfHosts,
}

/// The answer to a fetch.
pub(crate) struct Fetch {
    pub queue: i16,
    pub has_limits: bool,
    pub status: Status,
    /// When there may be more, if that is known.
    pub next_at: Option<Timestamp>,
    /// When the leases end.
    pub expires_at: Option<Timestamp>,
    /// Each job with its lease.
    pub jobs: Vec<(Uuid, Job)>,
}

/// Fetches jobs and moves the place in the queue. With a `sleeper`, that host is marked as asleep when there are none.
pub(crate) async fn fetch(
    db: &impl Queries,
    wish: &Wish<'_>,
    place: &mut Place,
    sleeper: Option<Uuid>,
) -> Result<Result<Fetch, NoPull>> {
    let row = db
        .query_one(
            "select (f.picked).*, f.queue_id, f.has_limits, f.leases, f.held_until from jobs.fetch($1, $2, $3, $4, $5, $6, $7, $8) f",
            &[
                &wish.queue,
                &wish.worker,
                &wish.jobs_max,
                &wish.lease_seconds,
                &place.marks(),
                &place.is_whole(),
                &place.turn,
                &sleeper,
            ],
        )
        .await?;
    let status = match row.get::<&str>("status")? {
        "unknown" => return Ok(Err(NoPull::Unknown)),
        "not_pull" => return Ok(Err(NoPull::OfHosts)),
        "taken" => Status::Taken,
        "paused" => Status::Paused,
        "limited" => Status::Limited,
        _ => Status::Busy,
    };
    claim::move_to(place, &row, wish.jobs_max)?;
    let leases: Option<Vec<Uuid>> = row.get("leases")?;
    let jobs = match leases {
        Some(leases) => {
            let jobs = leases.into_iter().zip(claim::jobs(&row)?).collect();
            claim::in_order(&row, jobs)?
        }
        None => Vec::new(),
    };
    Ok(Ok(Fetch {
        queue: row.get("queue_id")?,
        has_limits: row.get("has_limits")?,
        status,
        next_at: row.get("next_at")?,
        expires_at: row.get("held_until")?,
        jobs,
    }))
}

/// A worker that says that it lives.
pub(crate) struct Beat {
    pub lease: Uuid,
    pub lease_seconds: f64,
    pub progress: Option<Value>,
}

/// What it is told.
pub(crate) struct Alive {
    pub lease: Uuid,
    pub is_wanted: bool,
    pub expires_at: Timestamp,
}

/// Extends leases; those that are still held.
pub(crate) async fn beat(db: &impl Queries, beats: &[Beat]) -> Result<Vec<Alive>> {
    let leases: Vec<Uuid> = beats.iter().map(|beat| beat.lease).collect();
    let seconds: Vec<f64> = beats.iter().map(|beat| beat.lease_seconds).collect();
    let progresses: Vec<Option<&Value>> = beats.iter().map(|beat| beat.progress.as_ref()).collect();
    let progresses = Typed(progresses, Type::JSONB_ARRAY);
    db.query(
        "select lease, is_wanted, expires_at from jobs.beat($1, $2, $3)",
        &[&leases, &seconds, &progresses],
    )
    .await?
    .map(|row| {
        Ok(Alive {
            lease: row.get("lease")?,
            is_wanted: row.get("is_wanted")?,
            expires_at: row.get("expires_at")?,
        })
    })
}

/// What became of a job that somebody had fetched.
pub(crate) struct Settled {
    pub lease: Uuid,
    pub job: i64,
    pub queue: i16,
    pub queue_name: String,
    pub kind: String,
    pub attempt: u32,
    /// How long its worker had it.
    pub held_seconds: f64,
    pub state: String,
}

/// Ends jobs by their leases, each of which is named once; those that were still held.
pub(crate) async fn settle(db: &impl Queries, endings: &[(Uuid, Ending)]) -> Result<Vec<Settled>> {
    let finish::Columns {
        leases,
        states,
        delays,
    } = finish::columns(endings);
    let results = raw::list(endings.iter().map(|(_, ending)| &*ending.result));
    let errors = raw::list(endings.iter().map(|(_, ending)| &*ending.error));
    db.query(
        "select lease, id, queue, queue_name, kind, attempt, held_seconds, state from jobs.settle_fetched($1, $2, $3, $4, array(select nullif(d, 'nan') from unnest($5) d))",
        &[&leases, &states, &results, &errors, &delays],
    )
    .await?
    .map(|row| {
        Ok(Settled {
            lease: row.get("lease")?,
            job: row.get("id")?,
            queue: row.get("queue")?,
            queue_name: row.get("queue_name")?,
            kind: row.get("kind")?,
            attempt: row.get::<i16>("attempt")?.unsigned_abs().into(),
            held_seconds: row.get("held_seconds")?,
            state: row.get("state")?,
        })
    })
}

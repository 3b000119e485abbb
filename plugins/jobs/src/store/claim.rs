//! Claiming, and what a claimed batch is read into.

use std::{sync::Arc, time::Instant};

use nself_plugin_api::{bytes::Bytes, jiff::Timestamp, prelude::*, uuid::Uuid};

use super::raw::{self, Raw};
use crate::engine::{Job, Looked, Place};

/// The host that claims, and how it calls the lease.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holder {
    pub host: Uuid,
    pub lease: Uuid,
}

impl Holder {
    /// A new lease of that host.
    pub(crate) fn new(host: Uuid) -> Self {
        let lease = Uuid::now_v7();
        Self { host, lease }
    }
}

/// How a claim went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// It took what there was.
    Taken,
    /// Another host claims at this moment.
    Busy,
    /// Somebody paused the queue.
    Paused,
    /// The queue has all that it may have now.
    Limited,
}

/// The answer to a claim.
pub(crate) struct Claim {
    pub status: Status,
    /// When there may be more, if that is known.
    pub next_at: Option<Timestamp>,
    pub taken: Option<(Uuid, Vec<Job>)>,
}

/// Claims at most `wanted` jobs of a queue for a host, and moves its place. The lease gets the id that the holder says.
pub(crate) async fn claim(
    db: &impl Queries,
    queue: i16,
    holder: Holder,
    wanted: usize,
    place: &mut Place,
) -> Result<Claim> {
    let Holder { host, lease } = holder;
    let wanted = i32::try_from(wanted).unwrap_or(i32::MAX);
    let row = db
        .query_one(
            "select (c.picked).*, c.lease from jobs.claim($1, $2, $3, $4, $5, $6, $7, $8) c",
            &[
                &queue,
                &host,
                &wanted,
                &place.marks(),
                &place.is_whole(),
                &place.turn,
                &lease,
                &place.is_careful,
            ],
        )
        .await?;
    let status = match row.get::<&str>("status")? {
        "taken" => Status::Taken,
        "paused" => Status::Paused,
        "limited" => Status::Limited,
        _ => Status::Busy,
    };
    move_to(place, &row, wanted)?;
    let lease: Option<Uuid> = row.get("lease")?;
    let taken = match lease {
        Some(lease) => Some((lease, in_order(&row, jobs(&row)?)?)),
        None => None,
    };
    let next_at = row.get("next_at")?;
    Ok(Claim {
        status,
        next_at,
        taken,
    })
}

/// Notes where a look ended that was to take so many jobs.
pub(crate) fn move_to(place: &mut Place, row: &Row, wanted: i32) -> Result<()> {
    place.turn = row.get("turn")?;
    let is_late: Option<bool> = row.get("is_late")?;
    let taken: Option<Vec<i64>> = row.get("ids")?;
    let taken = taken.map_or(0, |ids| ids.len());
    place.end(
        Instant::now(),
        Looked {
            low: row.get("low")?,
            seen: row.get("seen")?,
            is_late: is_late.unwrap_or(false),
            is_full: usize::try_from(wanted).is_ok_and(|wanted| taken >= wanted),
        },
    );
    Ok(())
}

/// The one suspect that a host may have, if the queue has one.
pub(crate) async fn claim_suspect(
    db: &impl Queries,
    queue: i16,
    holder: Holder,
) -> Result<Option<(Uuid, Vec<Job>)>> {
    let Holder { host, lease } = holder;
    let row = db
        .query_opt(
            "select id as lease, ids, attempts, attempts_max, kinds, families, concurrency_keys, rate_keys, metas, payloads \
                 from jobs.claim_suspect($1, $2, $3)",
            &[&queue, &host, &lease],
        )
        .await?;
    row.map(|row| Ok((row.get("lease")?, jobs(&row)?)))
        .transpose()
}

/// The columns of a batch, turned into its jobs.
pub(crate) fn jobs(row: &Row) -> Result<Vec<Job>> {
    let ids: Vec<i64> = row.get("ids")?;
    let attempts: Vec<i16> = row.get("attempts")?;
    let attempts_max: Vec<i16> = row.get("attempts_max")?;
    let kinds: Vec<&str> = row.get("kinds")?;
    let families: Vec<Option<Uuid>> = row.get("families")?;
    let concurrency_keys: Vec<Option<&str>> = row.get("concurrency_keys")?;
    let metas: Vec<Option<Raw<'_>>> = row.get("metas")?;
    let payloads: Vec<Option<Raw<'_>>> = row.get("payloads")?;
    // Most batches are of few kinds: one name for all jobs of a kind that follow each other.
    let mut kind: Arc<str> = Arc::from("");
    Ok((0..ids.len())
        .map(|at| {
            if *kind != *kinds[at] {
                kind = Arc::from(kinds[at]);
            }
            Job {
                id: ids[at],
                attempt: u32::try_from(attempts[at]).unwrap_or(1),
                attempts_max: u32::try_from(attempts_max[at]).unwrap_or(1),
                kind: Arc::clone(&kind),
                family_id: families[at],
                has_key: concurrency_keys[at].is_some(),
                meta: metas[at].map(Raw::to_bytes).unwrap_or_default(),
                payload: payloads[at].map(Raw::to_bytes).unwrap_or_default(),
            }
        })
        .collect())
}

/// The jobs of a batch, or what belongs to each, in the order in which they are to begin: a claim takes them as they lie in the table.
pub(crate) fn in_order<T>(row: &Row, jobs: Vec<T>) -> Result<Vec<T>> {
    let (priorities, ids): (Vec<i16>, Vec<i64>) = (row.get("priorities")?, row.get("ids")?);
    let ranks: Vec<_> = priorities.into_iter().zip(ids).collect();
    if ranks.is_sorted() {
        return Ok(jobs);
    }
    let mut ranked: Vec<_> = ranks.into_iter().zip(jobs).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    Ok(ranked.into_iter().map(|(_, job)| job).collect())
}

/// What a job has that is large.
pub(crate) struct Large {
    pub payload: Bytes,
    /// The result of the job before it in a chain, when that is large as well.
    pub previous: Option<Bytes>,
}

/// The large payload of a job.
pub(crate) async fn large(db: &impl Queries, job: i64) -> Result<Option<Large>> {
    let row = db
        .query_opt(
            "select body, previous from jobs.payloads where id = $1",
            &[&job],
        )
        .await?;
    row.map(|row| {
        let previous: Option<Raw<'_>> = row.get("previous")?;
        Ok(Large {
            payload: row.get::<Raw<'_>>("body")?.to_bytes(),
            previous: previous.map(Raw::to_bytes),
        })
    })
    .transpose()
}

/// Jobs that were enqueued and leased in one go: their ids, and the attempts that each may have.
pub(crate) struct Leased {
    pub lease: Uuid,
    pub queue: i16,
    pub queue_name: Arc<str>,
    pub jobs: Vec<(i64, u32)>,
}

/// Enqueues plain jobs of one queue and leases them to this host; nothing when the queue does not allow that now.
pub(crate) async fn submit_leased(
    db: &impl Queries,
    holder: Holder,
    kinds: &[&str],
    payloads: &[&[u8]],
) -> Result<Option<Leased>> {
    let Holder { host, lease } = holder;
    let payloads = raw::list(payloads.iter().copied());
    let row = db
        .query_one(
            "select lease, queue_id, queue_name, ids, limits from jobs.submit_leased($1, $2, $3, $4)",
            &[&host, &kinds, &payloads, &lease],
        )
        .await?;
    let lease: Option<Uuid> = row.get("lease")?;
    let Some(lease) = lease else {
        return Ok(None);
    };
    let ids: Vec<i64> = row.get("ids")?;
    let limits: Vec<i16> = row.get("limits")?;
    let limits = limits
        .into_iter()
        .map(|limit| u32::try_from(limit).unwrap_or(1));
    Ok(Some(Leased {
        lease,
        queue: row.get("queue_id")?,
        queue_name: Arc::from(row.get::<&str>("queue_name")?),
        jobs: ids.into_iter().zip(limits).collect(),
    }))
}

/// Gives jobs of a lease leases of their own; which.
pub(crate) async fn split(
    db: &impl Queries,
    host: Uuid,
    lease: Uuid,
    jobs: &[i64],
) -> Result<Vec<(i64, Uuid)>> {
    db.query(
        "select id, lease from jobs.split($1, $2, $3)",
        &[&host, &lease, &jobs],
    )
    .await?
    .map(|row| Ok((row.get("id")?, row.get("lease")?)))
}

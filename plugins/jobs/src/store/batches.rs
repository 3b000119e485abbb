//! Batches: jobs that belong together.

use nself_plugin_api::{jiff::Timestamp, prelude::*, serde_json::Value, uuid::Uuid};
use serde::{Deserialize, Serialize};

/// A new batch.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NewBatch {
    /// For who looks at it.
    #[schema(max_length = 200)]
    pub name: Option<String>,
    /// Whose it is.
    pub family_id: Option<Uuid>,
    /// The job that is enqueued when the last one has ended: `kind`, and objects `payload` and `options`. It is told
    /// how the batch ended as `ended_batch`.
    pub then: Option<Value>,
}

/// A batch.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Batch {
    /// Its id: the option `batch` of its jobs.
    pub id: Uuid,
    /// For who looks at it.
    pub name: Option<String>,
    /// Whose it is.
    pub family_id: Option<Uuid>,
    /// Jobs that have joined.
    pub total: i32,
    /// Those that have not ended.
    pub pending: i32,
    /// Those that were discarded or cancelled.
    pub failed: i32,
    /// It takes no more jobs.
    pub is_sealed: bool,
    /// Since when it is there.
    pub created_at: Timestamp,
    /// When its last job ended.
    pub finished_at: Option<Timestamp>,
    /// When somebody ended all of it.
    pub cancelled_at: Option<Timestamp>,
}

/// Makes a batch.
pub(crate) async fn open(db: &impl Queries, batch: &NewBatch) -> Result<Uuid> {
    db.query_one(
        "select jobs.open_batch($1, $2, $3)",
        &[&batch.name, &batch.then, &batch.family_id],
    )
    .await?
    .get(0)
}

/// Lets it take no more jobs; whether there is such a batch.
pub(crate) async fn seal(db: &impl Queries, batch: Uuid) -> Result<bool> {
    db.query_one("select jobs.seal_batch($1)", &[&batch])
        .await?
        .get(0)
}

/// Ends some of its jobs: how many, none when there is no such batch.
pub(crate) async fn cancel(
    db: &impl Queries,
    batch: Uuid,
    reason: Option<&str>,
    jobs_max: i32,
) -> Result<Option<i64>> {
    db.query_one(
        "select jobs.cancel_batch($1, $2, $3)",
        &[&batch, &reason, &jobs_max],
    )
    .await?
    .get(0)
}

/// Which batches.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Filter {
    /// `open` (some of its jobs have not ended, or it takes more), `finished` or `cancelled`.
    pub state: Option<String>,
    /// `next` of the page before.
    pub before: Option<Uuid>,
    /// Batches on the page, at most 1000.
    #[schema(minimum = 1, maximum = 1_000)]
    pub limit: Option<u16>,
}

/// A page, the newest batch first.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Page {
    /// The batches.
    pub batches: Vec<Batch>,
    /// Where the next page begins; null at the end.
    pub next: Option<Uuid>,
}

/// The page that a filter asks for.
pub(crate) async fn page(db: &impl Queries, filter: &Filter) -> Result<Page> {
    let limit = i64::from(filter.limit.unwrap_or(100).clamp(1, 1_000));
    let state = filter.state.as_deref().unwrap_or_default();
    let rows = db
        .query(
            &format!(
                "{COLUMNS} where ($1::uuid is null or id < $1) and case $2::text when 'open' then finished_at is null \
                 when 'finished' then finished_at is not null when 'cancelled' then cancelled_at is not null else true end \
                 order by id desc limit $3"
            ),
            &[&filter.before, &state, &(limit + 1)],
        )
        .await?;
    let mut batches = rows.map(batch)?;
    let has_more = batches.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    if has_more {
        batches.pop();
    }
    let next = batches.last().filter(|_| has_more).map(|last| last.id);
    Ok(Page { batches, next })
}

const COLUMNS: &str = "select id, name, family_id, total, pending, failed, is_sealed, created_at, finished_at, cancelled_at \
    from jobs.batches";

/// A batch by its id.
pub(crate) async fn find(db: &impl Queries, id: Uuid) -> Result<Option<Batch>> {
    let row = db
        .query_opt(&format!("{COLUMNS} where id = $1"), &[&id])
        .await?;
    row.as_ref().map(batch).transpose()
}

fn batch(row: &Row) -> Result<Batch> {
    Ok(Batch {
        id: row.get("id")?,
        name: row.get("name")?,
        family_id: row.get("family_id")?,
        total: row.get("total")?,
        pending: row.get("pending")?,
        failed: row.get("failed")?,
        is_sealed: row.get("is_sealed")?,
        created_at: row.get("created_at")?,
        finished_at: row.get("finished_at")?,
        cancelled_at: row.get("cancelled_at")?,
    })
}

//! Pages of jobs.

use nself_plugin_api::{jiff::Timestamp, prelude::*, uuid::Uuid};
use serde::{Deserialize, Serialize};

/// Jobs that one page looks at when it has to look for what has no index.
const LOOKS_MAX: i32 = 2_000;

/// Which jobs.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Filter {
    /// `available`, `scheduled`, `running`, `retryable`, `completed`, `cancelled` or `discarded`.
    pub state: Option<String>,
    /// What they are.
    pub kind: Option<String>,
    /// Where they wait.
    pub queue: Option<String>,
    /// Whose they are.
    pub family_id: Option<Uuid>,
    /// They carry that tag.
    pub tag: Option<String>,
    /// They were enqueued then or later.
    pub since: Option<Timestamp>,
    /// `next` of the page before.
    pub before: Option<i64>,
    /// Jobs on the page, at most 1000.
    #[schema(minimum = 1, maximum = 1_000)]
    pub limit: Option<u16>,
}

/// A page, the newest job first.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Page {
    /// The jobs. With a filter that few jobs match there may be less than asked for, or none, although there is a `next`: a page
    /// looks at a limited number of jobs.
    pub jobs: Vec<Listed>,
    /// Where the next page begins; null at the end.
    pub next: Option<i64>,
}

/// A job on a page.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Listed {
    /// Its id.
    pub id: i64,
    /// As the filter's.
    pub state: String,
    /// What it is.
    pub kind: String,
    /// Where it waits.
    pub queue: String,
    /// 0 is first, 9 is last.
    pub priority: Option<i16>,
    /// Attempts that were begun.
    pub attempt: i16,
    /// Attempts before it is given up.
    pub attempts_max: Option<i16>,
    /// Whose it is.
    pub family_id: Option<Uuid>,
    /// Its tags.
    pub tags: Option<nself_plugin_api::serde_json::Value>,
    /// The code of its last error; not there once it is completed or cancelled, whatever went wrong before.
    pub error_code: Option<String>,
    /// When it was enqueued, to the second.
    pub enqueued_at: Timestamp,
    /// When it is due, if it waits for a time.
    pub run_at: Option<Timestamp>,
    /// When the last attempt began.
    pub claimed_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// The page that a filter asks for. A queue that does not exist has no jobs.
pub(crate) async fn page(db: &impl Queries, filter: &Filter) -> Result<Page> {
    let limit = i32::from(filter.limit.unwrap_or(100).clamp(1, 1_000));
    let rows = db
        .query(
            "select l.next, l.id, l.state, l.kind, q.name as queue, l.priority, l.attempt, l.attempts_max, l.family_id, l.tags, \
                 l.error_code, l.run_at, l.claimed_at, l.finished_at, jobs.created_at(l.id) as enqueued_at \
             from jobs.list($1, $2, case when $3::text is null then null \
                     else coalesce((select q.id from jobs.queues q where q.name = $3::text), 0::smallint) end, \
                 $4, $5, $6, $7, $8, $9) l \
             left join jobs.queues q on q.id = l.queue order by l.id desc",
            &[
                &filter.state,
                &filter.kind,
                &filter.queue,
                &filter.family_id,
                &filter.tag,
                &filter.since,
                &filter.before,
                &limit,
                &LOOKS_MAX,
            ],
        )
        .await?;
    let mut next = None;
    let jobs = rows.map(|row| {
        next = row.get("next")?;
        // An empty page is one row that has only a next.
        let id: Option<i64> = row.get("id")?;
        id.map(|id| listed(row, id)).transpose()
    })?;
    let jobs = jobs.into_iter().flatten().collect();
    Ok(Page { jobs, next })
}

fn listed(row: &Row, id: i64) -> Result<Listed> {
    Ok(Listed {
        id,
        state: row.get("state")?,
        kind: row.get("kind")?,
        queue: row.get("queue")?,
        priority: row.get("priority")?,
        attempt: row.get("attempt")?,
        attempts_max: row.get("attempts_max")?,
        family_id: row.get("family_id")?,
        tags: row.get("tags")?,
        error_code: row.get("error_code")?,
        enqueued_at: row.get("enqueued_at")?,
        run_at: row.get("run_at")?,
        claimed_at: row.get("claimed_at")?,
        finished_at: row.get("finished_at")?,
    })
}

//! Ending jobs.

use nself_plugin_api::{bytes::Bytes, prelude::*, uuid::Uuid};

use super::raw;

/// How an attempt ended, as its worker says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Completed,
    /// Tried again, or discarded: as its policy says.
    Failed,
    /// Given up, whatever its policy says.
    Discarded,
    Cancelled,
    /// Not now: the attempt does not count.
    Snoozed,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Discarded => "discarded",
            Self::Cancelled => "cancelled",
            Self::Snoozed => "snoozed",
        }
    }
}

/// The ending of one job.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    pub job: i64,
    pub state: State,
    /// JSON, empty for none.
    pub result: Bytes,
    /// `{"code", "message"}`, empty for none.
    pub error: Bytes,
    /// Seconds until it is tried again, when its worker says so.
    pub delay: Option<f64>,
}

impl Ending {
    /// Completed, with nothing to say.
    pub(crate) fn completed(job: i64) -> Self {
        Self {
            job,
            state: State::Completed,
            result: Bytes::new(),
            error: Bytes::new(),
            delay: None,
        }
    }

    /// Given up, because the database refuses to store how it ended.
    pub(crate) fn refused(job: i64) -> Self {
        Self {
            state: State::Discarded,
            error: Bytes::from_static(
                br#"{"code":"JOB_ENDING_REFUSED","message":"the database cannot store how it ended: its result or what follows it"}"#,
            ),
            ..Self::completed(job)
        }
    }

    /// Completed without a result.
    pub(crate) fn says_nothing(&self) -> bool {
        self.state == State::Completed && self.result.is_empty()
    }
}

/// Completes all jobs of plain leases; the leases that were still this host's.
pub(crate) async fn complete(
    db: &impl Queries,
    host: Uuid,
    leases: &[Uuid],
    is_kept: bool,
) -> Result<Vec<Uuid>> {
    db.query(
        "select complete from jobs.complete($1, $2, $3)",
        &[&host, &leases, &is_kept],
    )
    .await?
    .map(|row| row.get(0))
}

/// Endings as lists, for one statement.
pub(super) struct Columns {
    pub leases: Vec<Uuid>,
    pub states: Vec<&'static str>,
    /// NaN for none.
    pub delays: Vec<f64>,
}

pub(super) fn columns(endings: &[(Uuid, Ending)]) -> Columns {
    Columns {
        leases: endings.iter().map(|(lease, _)| *lease).collect(),
        states: endings
            .iter()
            .map(|(_, ending)| ending.state.name())
            .collect(),
        delays: endings
            .iter()
            .map(|(_, ending)| ending.delay.unwrap_or(f64::NAN))
            .collect(),
    }
}

/// Ends jobs one by one. `holder` is this host, or none for workers that fetched a lease. What became of those that were still
/// theirs.
pub(crate) async fn settle(
    db: &impl Queries,
    holder: Option<Uuid>,
    endings: &[(Uuid, Ending)],
) -> Result<Vec<(i64, String)>> {
    let Columns {
        leases,
        states,
        delays,
    } = columns(endings);
    let jobs: Vec<i64> = endings.iter().map(|(_, ending)| ending.job).collect();
    let results = raw::list(endings.iter().map(|(_, ending)| &*ending.result));
    let errors = raw::list(endings.iter().map(|(_, ending)| &*ending.error));
    db.query(
        "select id, state from jobs.settle($1, $2, $3, $4, $5, $6, array(select nullif(d, 'nan') from unnest($7) d))",
        &[&holder, &leases, &jobs, &states, &results, &errors, &delays],
    )
    .await?
    .map(|row| Ok((row.get("id")?, row.get("state")?)))
}

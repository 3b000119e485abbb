//! Jobs that workers have fetched, by their leases.

use nself_plugin_api::{jiff::Timestamp, prelude::*, serde_json::Value, uuid::Uuid};
use serde::{Deserialize, Serialize};

use crate::{
    Jobs,
    pull::{Action, Answered, Line, Report, say},
};

/// That a worker lives.
#[derive(Debug, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Heartbeat {
    /// How far the job is, for who looks at it.
    #[serde(default)]
    progress: Option<Value>,
    /// For how many seconds the lease is good from now on; 60 when this is not there.
    #[serde(default)]
    lease_seconds: Option<f64>,
}

/// What a worker that lives is told.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Wanted {
    /// Whether the job is to be gone on with; false when somebody wants to end it.
    is_wanted: bool,
    /// When the lease ends now.
    expires_at: Option<Timestamp>,
}

pub(crate) async fn heartbeat(
    cx: Cx<Jobs>,
    Path(lease): Path<Uuid>,
    Json(beat): Json<Heartbeat>,
) -> Result<Data<Wanted>> {
    let report = Report {
        progress: beat.progress,
        lease_seconds: beat.lease_seconds,
        ..Report::new(lease, Action::Heartbeat)
    };
    let answered = say::one(&cx, report).await?;
    Ok(Data(Wanted {
        is_wanted: answered.is_wanted.unwrap_or_default(),
        expires_at: answered.expires_at,
    }))
}

/// That a job is done.
#[derive(Debug, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Completion {
    /// What came of it.
    #[serde(default)]
    result: Option<Value>,
}

/// A job that has ended, or waits for its next attempt.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Ended {
    /// The job.
    id: Option<i64>,
    /// Its state now.
    state: Option<String>,
}

pub(crate) async fn complete(
    cx: Cx<Jobs>,
    Path(lease): Path<Uuid>,
    Json(completion): Json<Completion>,
) -> Result<Data<Ended>> {
    let report = Report {
        result: completion.result,
        ..Report::new(lease, Action::Complete)
    };
    ended(&cx, report).await
}

/// That an attempt failed.
#[derive(Debug, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failure {
    /// A stable name of the error, such as `PRINTER_AWAY`.
    code: String,
    /// A sentence.
    #[serde(default)]
    message: Option<String>,
    /// Seconds until the next attempt, instead of what the job's policy says.
    #[serde(default)]
    retry_after: Option<f64>,
    /// No further attempt could succeed.
    #[serde(default)]
    discard: bool,
}

pub(crate) async fn fail(
    cx: Cx<Jobs>,
    Path(lease): Path<Uuid>,
    Json(failure): Json<Failure>,
) -> Result<Data<Ended>> {
    let report = Report {
        code: Some(failure.code),
        message: failure.message,
        retry_after: failure.retry_after,
        discard: failure.discard,
        ..Report::new(lease, Action::Fail)
    };
    ended(&cx, report).await
}

/// That a job is put off.
#[derive(Debug, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pause {
    /// Seconds until it is tried again. The attempt does not count.
    delay: f64,
}

pub(crate) async fn snooze(
    cx: Cx<Jobs>,
    Path(lease): Path<Uuid>,
    Json(pause): Json<Pause>,
) -> Result<Data<Ended>> {
    let report = Report {
        delay: Some(pause.delay),
        ..Report::new(lease, Action::Snooze)
    };
    ended(&cx, report).await
}

/// Lines to be written down.
#[derive(Debug, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lines {
    /// At most 100; the newest 100 of a job stay.
    lines: Vec<Line>,
}

pub(crate) async fn logs(
    cx: Cx<Jobs>,
    Path(lease): Path<Uuid>,
    Json(lines): Json<Lines>,
) -> Result<NoContent> {
    let report = Report {
        lines: lines.lines,
        ..Report::new(lease, Action::Logs)
    };
    say::one(&cx, report).await?;
    Ok(NoContent)
}

pub(crate) async fn batch(
    cx: Cx<Jobs>,
    Json(reports): Json<Vec<Report>>,
) -> Result<Data<Vec<Answered>>> {
    say::many(&cx, reports).await.map(Data)
}

async fn ended(cx: &Cx<Jobs>, report: Report) -> Result<Data<Ended>> {
    let Answered { id, state, .. } = say::one(cx, report).await?;
    Ok(Data(Ended { id, state }))
}

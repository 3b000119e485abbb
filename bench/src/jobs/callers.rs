//! Callers that enqueue in SQL, each over a connection of its own and in a transaction for each job.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::try_join_all;
use nself::postgres::scratch::TestDatabase;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use super::usage::{Sample, Watch, postmaster};
use crate::{Failure, Result};

/// Runs a statement with a number in its payload, so many times from each of so many callers.
pub(super) async fn enqueue(
    database: &TestDatabase,
    statement: &str,
    callers: u32,
    each: u32,
) -> Result<Sample> {
    let mut sessions = Vec::new();
    for _ in 0..callers {
        let client = database.client().await;
        let statement = client.prepare(statement).await?;
        sessions.push((client, statement));
    }
    let sql = database.client().await;
    let watch = Watch {
        store: postmaster(),
        worker: None,
        sql: Some(&sql),
    };
    let mark = watch.mark().await?;
    try_join_all(sessions.iter().map(|(client, statement)| async move {
        for number in 0..each {
            client.query(statement, &[&json!({"n": number})]).await?;
        }
        Ok::<_, Failure>(())
    }))
    .await?;
    watch.since(&mark, callers * each, None).await
}

/// When jobs were sent, and when their commits were known to the caller: microseconds since 1970.
pub(super) struct Sent(pub Vec<(i64, i64)>);

/// Enqueues jobs one by one with a pause between them.
pub(super) async fn one_by_one(
    samples: u32,
    mut enqueue: impl AsyncFnMut(Value) -> Result<()>,
) -> Result<Sent> {
    let mut sent = Vec::new();
    for number in 0..samples {
        let begun = wall_micros()?;
        enqueue(json!({"n": number, "m": monotonic_micros()})).await?;
        sent.push((begun, wall_micros()?));
        tokio::time::sleep(Duration::from_millis(u64::from(60 + number * 37 % 50))).await;
    }
    Ok(Sent(sent))
}

/// Microseconds since 1970.
pub(super) fn wall_micros() -> Result<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(i64::try_from(since.as_micros())?)
}

/// Microseconds of the clock that all processes share: Node has no better one.
fn monotonic_micros() -> i64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
}

//! Jobs and a schedule, for whoever keeps queues and watches the clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use nself_plugin_api::{
    job::JobContext,
    prelude::*,
    serde_json::{Value, json},
};
use serde::{Deserialize, Serialize};

use crate::{Caller, store};

/// Two numbers.
#[derive(Debug, Deserialize)]
pub(crate) struct Sum {
    a: i64,
    b: i64,
}

/// What came out.
#[derive(Debug, Serialize)]
pub(crate) struct Total {
    sum: i64,
}

/// Adds.
pub(crate) async fn add(_: Cx<Caller>, job: JobRun) -> Result<Total> {
    let Sum { a, b } = job.json()?;
    Ok(Total { sum: a + b })
}

/// Has nothing to say.
pub(crate) async fn nothing(_: Cx<Caller>, _: JobRun) -> Result<()> {
    Ok(())
}

/// Gives back what it is told about the job.
pub(crate) async fn tell(_: Cx<Caller>, job: JobRun) -> Result<Value> {
    let JobContext {
        queue,
        tags,
        errors,
        scheduled_at,
        fired_at,
        previous,
        ended_batch,
        ..
    } = job.context()?;
    Ok(json!({
        "id": job.id, "kind": job.kind, "attempt": job.attempt, "attempts_max": job.attempts_max,
        "is_last": job.is_last(), "queue": queue, "tags": tags, "errors": errors.len(),
        "scheduled_at": scheduled_at, "fired_at": fired_at, "previous": previous, "ended_batch": ended_batch,
    }))
}

/// Fails as the payload says.
pub(crate) async fn fail(_: Cx<Caller>, job: JobRun) -> Result<()> {
    match &*job.json::<String>()? {
        "later" => Err(Error::unavailable(
            "NOT_NOW",
            "not now",
            Duration::from_secs(90),
        )),
        "never" => Err(Error::discard("the photo is gone")),
        _ => panic!("asked to"),
    }
}

/// Counts when it is dropped.
struct Witness(Arc<AtomicU64>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Waits until somebody has kept an item of that name.
pub(crate) async fn wait(cx: Cx<Caller>, job: JobRun) -> Result<&'static str> {
    let name: String = job.json()?;
    store::keep(&cx.db(), &format!("waiting for {name}")).await?;
    let _witness = Witness(Arc::clone(&cx.plugin().dropped));
    while !store::is_kept(&cx.db(), &name).await? {
        cx.clock().sleep(Duration::from_millis(10)).await?;
    }
    Ok("it is here")
}

/// Keeps an item that says for when it ran.
pub(crate) async fn tick(cx: Cx<Caller>, due: Scheduled) -> Result<()> {
    store::keep(&cx.db(), &format!("tick {}", due.scheduled_at)).await
}

//! The handlers: they write, and then do what the payload says.

use std::{future, process, thread, time::Duration};

use nself_plugin_api::prelude::*;
use serde::Deserialize;

use crate::{Ledger, store};

/// What a job does between its two rows.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Work {
    /// Written into the rows.
    key: String,
    /// Milliseconds that the first attempt takes, and the later ones.
    first_ms: u64,
    ms: u64,
    manner: Manner,
}

/// How it takes its time.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Manner {
    #[default]
    Wait,
    /// Holds its thread.
    Block,
    /// Ends the process.
    Abort,
    /// Is never done.
    Never,
    Panic,
}

/// Writes that it began, takes its time, and writes that it is done.
pub(crate) async fn work(cx: Cx<Ledger>, job: JobRun) -> Result<()> {
    let work: Work = job.json()?;
    let number = store::begin(&cx.db(), cx.plugin().replica, &job, &work.key).await?;
    let pause = Duration::from_millis(if job.attempt == 1 {
        work.ms.max(work.first_ms)
    } else {
        work.ms
    });
    match work.manner {
        Manner::Wait if pause.is_zero() => {}
        Manner::Wait => cx.clock().sleep(pause).await?,
        Manner::Block => thread::sleep(pause),
        Manner::Abort => process::abort(),
        Manner::Never => future::pending().await,
        Manner::Panic => panic!("asked to"),
    }
    store::end(&cx.db(), number).await
}

/// Is done at once.
pub(crate) async fn nothing(_: Cx<Ledger>, _: JobRun) -> Result<()> {
    Ok(())
}

/// Holds the thread on which it begins.
pub(crate) async fn hold(_: Cx<Ledger>, job: JobRun) -> Result<()> {
    let work: Work = job.json()?;
    thread::sleep(Duration::from_millis(work.ms));
    Ok(())
}

/// Writes one row and is done.
pub(crate) async fn once(cx: Cx<Ledger>, job: JobRun) -> Result<()> {
    let work: Work = job.json()?;
    store::note(&cx.db(), cx.plugin().replica, &job, &work.key).await
}

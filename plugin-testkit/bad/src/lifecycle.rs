//! What goes wrong outside requests, chosen by the version.

use std::{
    future::pending,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use nself_plugin_api::prelude::*;

use crate::{Bad, faults};

/// Long enough to be noticed, short enough that a test's process ends.
const BLOCKED: Duration = Duration::from_secs(20);

async fn fault(version: &str, step: &str) -> Result<()> {
    let Some(fault) = version
        .split_once('-')
        .and_then(|(_, faults)| faults.strip_prefix(step))
    else {
        return Ok(());
    };
    match fault {
        "-panics" => panic!("{step} panics, as the version says"),
        "-panics-with-payload" => faults::panic_with_payload(),
        "-fails" => faults::refuse(),
        "-hangs" => pending().await,
        "-crashes" => {
            faults::segfault();
            Ok(())
        }
        "-blocks" => {
            faults::block(BLOCKED);
            Ok(())
        }
        _ => Ok(()),
    }
}

pub(crate) async fn create(context: Context) -> Result<Bad> {
    let version = context.about().facts()?.version;
    fault(&version, "create").await?;
    Ok(Bad {
        version,
        dropped: AtomicU32::new(0),
        task_runs: AtomicU32::new(0),
        told: AtomicU32::new(0),
    })
}

pub(crate) async fn start(cx: Cx<Bad>) -> Result<()> {
    fault(&cx.plugin().version, "start").await
}

pub(crate) async fn task(cx: Cx<Bad>) -> Result<()> {
    cx.plugin().task_runs.fetch_add(1, Ordering::SeqCst);
    fault(&cx.plugin().version, "task").await
}

/// `version` says who answers, as JSON; anything else gives the payload back.
pub(crate) async fn echo(cx: Cx<Bad>, call: CapabilityCall) -> Result<Vec<u8>> {
    Ok(match &*call.method {
        "version" => format!("{:?}", cx.plugin().version).into_bytes(),
        _ => call.payload.to_vec(),
    })
}

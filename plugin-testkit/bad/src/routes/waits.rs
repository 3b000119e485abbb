//! Handlers that take their time.

use std::{future::pending, time::Duration};

use nself_plugin_api::{prelude::*, tracing::warn};

use crate::{Bad, faults};

/// Notes that the future which holds it was dropped before it was done.
struct Unfinished {
    cx: Cx<Bad>,
    done: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.done {
            self.cx.plugin().note_drop();
            warn!("a request was dropped before it was done");
        }
    }
}

pub(crate) async fn slow(cx: Cx<Bad>, Path(ms): Path<u64>) -> Result<Data<String>> {
    let mut unfinished = Unfinished {
        cx: cx.clone(),
        done: false,
    };
    cx.clock().sleep(Duration::from_millis(ms)).await?;
    unfinished.done = true;
    Ok(Data(cx.plugin().version.clone()))
}

pub(crate) async fn never(cx: Cx<Bad>) -> Result<NoContent> {
    let _unfinished = Unfinished { cx, done: false };
    pending().await
}

pub(crate) async fn block(_: Cx<Bad>, Path(ms): Path<u64>) -> Result<NoContent> {
    faults::block(Duration::from_millis(ms));
    Ok(NoContent)
}

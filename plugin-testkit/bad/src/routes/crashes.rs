//! Handlers that end the process.

use std::process::{abort, exit};

use nself_plugin_api::prelude::*;

use crate::{Bad, faults};

#[expect(
    clippy::disallowed_methods,
    reason = "a plugin that ends the process without asking is what is tried"
)]
pub(crate) async fn crash(cx: Cx<Bad>, Path(how): Path<String>) -> Result<NoContent> {
    match &*how {
        "segfault" => _ = faults::segfault(),
        "overflow" => _ = faults::overflow(0),
        "abort" => abort(),
        "exit" => exit(7),
        "thread-segfault" => faults::in_thread(|| _ = faults::segfault()),
        "thread-abort" => faults::in_thread(|| abort()),
        "thread-exit" => faults::in_thread(|| exit(7)),
        "blocking-abort" => cx.tasks().blocking(|| abort()).await?,
        _ => return Err(Error::new(404, "BAD_UNKNOWN", "it knows no such crash")),
    }
    Ok(NoContent)
}

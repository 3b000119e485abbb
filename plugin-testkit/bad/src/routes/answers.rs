//! Good answers: what tests compare the others with.

use std::{sync::atomic::Ordering, time::Duration};

use nself_plugin_api::{
    Schema,
    bytes::Bytes,
    futures_util::{StreamExt, stream},
    http::StatusCode,
    prelude::*,
    tracing::{debug, error, info, trace, warn},
};
use serde::Serialize;

use crate::Bad;

/// Chunks of the stream.
const CHUNKS: u32 = 20;

/// Pause between two of them.
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) async fn version(cx: Cx<Bad>) -> Result<Data<String>> {
    Ok(Data(cx.plugin().version.clone()))
}

/// What has happened to this instance.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Counts {
    dropped: u32,
    task_runs: u32,
}

pub(crate) async fn counts(cx: Cx<Bad>) -> Result<Data<Counts>> {
    let plugin = cx.plugin();
    Ok(Data(Counts {
        dropped: plugin.dropped.load(Ordering::SeqCst),
        task_runs: plugin.task_runs.load(Ordering::SeqCst),
    }))
}

/// An event of each level; how many the host wanted to read so far.
pub(crate) async fn log(cx: Cx<Bad>) -> Result<Data<u32>> {
    let told = || cx.plugin().told.fetch_add(1, Ordering::SeqCst);
    error!(told = told(), "an error of the bad plugin");
    warn!(told = told(), "a warning of the bad plugin");
    info!(told = told(), "a fact of the bad plugin");
    debug!(told = told(), "a detail of the bad plugin");
    trace!(told = told(), "a trace of the bad plugin");
    Ok(Data(cx.plugin().told.load(Ordering::SeqCst)))
}

/// A line per chunk, and `end` as the last one.
pub(crate) async fn stream(cx: Cx<Bad>) -> Result<Response> {
    let body = stream::iter(0..=CHUNKS).then(move |number| {
        let cx = cx.clone();
        async move {
            cx.clock().sleep(PAUSE).await?;
            Ok(Bytes::from(if number == CHUNKS {
                "end\n".to_owned()
            } else {
                format!("{number}\n")
            }))
        }
    });
    Ok(Response::stream(StatusCode::OK, body).content_type("text/plain"))
}

/// Three events, one of them no JSON.
pub(crate) async fn events(
    _: Cx<Bad>,
) -> Result<Sse<impl stream::Stream<Item = Result<SseEvent>> + Send + 'static>> {
    let events = [
        r#"{"id":1,"what":"begun"}"#,
        "by the way",
        r#"{"id":1,"what":"ended"}"#,
    ];
    let events = events.map(|data| Ok(SseEvent::data(data)));
    Ok(Sse(stream::iter(events)))
}

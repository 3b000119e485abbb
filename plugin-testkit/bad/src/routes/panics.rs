//! Handlers that panic.

use std::{future::pending, time::Duration};

use nself_plugin_api::{
    bytes::Bytes,
    futures_util::{StreamExt, stream},
    http::StatusCode,
    prelude::*,
};

use crate::{
    Bad,
    faults::{Bomb, panic_with_payload},
};

pub(crate) async fn before(_: Cx<Bad>) -> Result<NoContent> {
    panic!("before the first await")
}

pub(crate) async fn after(cx: Cx<Bad>) -> Result<NoContent> {
    cx.clock().sleep(Duration::from_millis(5)).await?;
    panic!("after an await")
}

pub(crate) async fn payload(_: Cx<Bad>) -> Result<NoContent> {
    panic_with_payload()
}

/// Answers, and panics when its locals end.
pub(crate) async fn drop(_: Cx<Bad>) -> Result<NoContent> {
    let _bomb = Bomb;
    Ok(NoContent)
}

/// Never answers, and panics when it is dropped.
pub(crate) async fn cancel(_: Cx<Bad>) -> Result<NoContent> {
    let _bomb = Bomb;
    pending().await
}

/// Panics in the middle of its body.
pub(crate) async fn stream(cx: Cx<Bad>) -> Result<Response> {
    let body = stream::iter(0..10).then(move |number| {
        let cx = cx.clone();
        async move {
            cx.clock().sleep(Duration::from_millis(5)).await?;
            assert!(number < 3, "in the middle of a body");
            Ok(Bytes::from("chunk\n"))
        }
    });
    Ok(Response::stream(StatusCode::OK, body))
}

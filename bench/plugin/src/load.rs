//! What swaps and faults are tried with: sockets, bodies that take a while, panics.

use std::time::Duration;

use nself_plugin_api::{
    bytes::Bytes, capability::hub::Limits, futures_util::stream, http::StatusCode, prelude::*,
};

use crate::Bench;

/// A body of so many pieces.
const PIECES: u32 = 20;

/// Time between two pieces.
const PAUSE: Duration = Duration::from_millis(10);

/// Sends every message back.
pub(crate) async fn socket(_: Cx<Bench>) -> Result<WebSocket> {
    Ok(WebSocket::new(|socket: Socket| async move {
        loop {
            match socket.receive().await? {
                Message::Close(..) => return Ok(()),
                message => socket.send(message).await?,
            }
        }
    }))
}

/// Sends every message to everybody.
pub(crate) async fn fan(cx: Cx<Bench>) -> Result<WebSocket> {
    Ok(WebSocket::new(move |socket| {
        let cx = cx.clone();
        async move {
            let Some(audience) = &cx.plugin().audience else {
                return Ok(());
            };
            audience.add(&cx.hub().connection(&socket, &Limits::default())?);
            loop {
                match socket.receive().await? {
                    Message::Close(..) => return Ok(()),
                    Message::Text(text) => _ = audience.publish(&cx.hub().text(text)?),
                    Message::Binary(bytes) => _ = audience.publish(&cx.hub().binary(bytes)?),
                }
            }
        }
    }))
}

/// 20 pieces of 1 KiB in 200 ms.
pub(crate) async fn stream(cx: Cx<Bench>) -> Result<Response> {
    let pieces = stream::unfold((cx, 0), |(cx, sent)| async move {
        if sent == PIECES {
            return None;
        }
        let piece = match cx.clock().sleep(PAUSE).await {
            Ok(()) => Ok(Bytes::from_static(&[b'.'; 1024])),
            Err(failure) => Err(failure),
        };
        Some((piece, (cx, sent + 1)))
    });
    Ok(Response::stream(StatusCode::OK, pieces))
}

/// Panics.
pub(crate) async fn fail(_: Cx<Bench>) -> Result<NoContent> {
    panic!("as asked")
}

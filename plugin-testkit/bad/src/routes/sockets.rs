//! WebSockets.

use nself_plugin_api::prelude::*;

use crate::Bad;

/// Says its version, then sends back what comes.
pub(crate) async fn echo(cx: Cx<Bad>) -> Result<WebSocket> {
    Ok(WebSocket::new(move |socket| {
        let cx = cx.clone();
        async move {
            socket
                .send(Message::Text(cx.plugin().version.clone()))
                .await?;
            loop {
                match socket.receive().await? {
                    Message::Close(..) => return Ok(()),
                    message => socket.send(message).await?,
                }
            }
        }
    }))
}

/// Panics on the first message.
pub(crate) async fn panic(_: Cx<Bad>) -> Result<WebSocket> {
    Ok(WebSocket::new(|socket: Socket| async move {
        socket.receive().await?;
        panic!("in a socket")
    }))
}

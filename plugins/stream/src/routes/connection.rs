//! `/connection`: where clients come in.

use nself_plugin_api::{
    futures_util::FutureExt,
    http::{HeaderMap, header::SEC_WEBSOCKET_PROTOCOL},
    prelude::*,
};

use crate::{Stream, protocol::Disconnect, socket};

/// The subprotocol of clients that speak Protobuf, which this server does not.
const PROTOBUF: &str = "centrifuge-protobuf";

/// Anybody may open a connection; it says whose it is in its first command, and is closed when it does not.
pub(crate) async fn websocket(cx: Cx<Stream>, headers: HeaderMap) -> Result<WebSocket> {
    cx.plugin().origins.check(&headers)?;
    let offered = headers.get(SEC_WEBSOCKET_PROTOCOL);
    let offered = offered
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let is_protobuf = offered.split(',').any(|name| name.trim() == PROTOBUF);
    let websocket = WebSocket::new(move |socket| {
        if is_protobuf {
            return socket::refuse(socket, Disconnect::INAPPROPRIATE_PROTOCOL).left_future();
        }
        socket::serve(cx.clone(), socket).right_future()
    });
    if is_protobuf {
        return websocket.protocol(PROTOBUF);
    }
    Ok(websocket)
}

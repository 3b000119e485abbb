//! `/v1/graphql`: Hasura's queries and subscriptions at the gateway's port.

use nself_plugin_api::{extract::Body, http::HeaderMap, prelude::*};

use crate::{Stream, graphql};

/// Queries and mutations. Hasura says who may ask what, by the caller's own token.
pub(crate) async fn query(cx: Cx<Stream>, headers: HeaderMap, body: Body) -> Result<Response> {
    graphql::ask(&cx, &headers, body.0).await
}

/// Subscriptions. Hasura is connected first: who finds it away is told so, and is not connected to nobody.
pub(crate) async fn subscribe(cx: Cx<Stream>, headers: HeaderMap) -> Result<WebSocket> {
    cx.plugin().origins.check(&headers)?;
    let (upstream, protocol) = graphql::open(&cx, &headers).await?;
    graphql::websocket(upstream, protocol)
}

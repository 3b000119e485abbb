//! `/api`: Centrifugo's server API, for programs that publish and steer without a connection of their own. Answers are 200 with
//! `result` or `error`, as its SDKs read them.

mod batch;
mod methods;
mod types;

use nself_plugin_api::prelude::*;
use serde_json::Value;

use self::{
    batch::Batch,
    methods::Method,
    types::{
        Broadcast, Channel, Channels, Disconnect, History, Info, Publish, Refresh, Rpc, Subscribe,
        Unsubscribe,
    },
};
use crate::Stream;

/// Answers a request of one method.
async fn answer<M: Method>(cx: &Cx<Stream>, request: M) -> Result<Json<Value>> {
    Ok(Json(methods::carry_out(cx, request).await))
}

pub(crate) async fn publish(cx: Cx<Stream>, Json(request): Json<Publish>) -> Result<Json<Value>> {
    answer(&cx, request).await
}

pub(crate) async fn broadcast(
    cx: Cx<Stream>,
    Json(request): Json<Broadcast>,
) -> Result<Json<Value>> {
    answer(&cx, request).await
}

pub(crate) async fn history(cx: Cx<Stream>, Json(request): Json<History>) -> Result<Json<Value>> {
    answer(&cx, request).await
}

pub(crate) async fn presence(cx: Cx<Stream>, Json(request): Json<Channel>) -> Result<Json<Value>> {
    answer(&cx, methods::Presence(request)).await
}

pub(crate) async fn presence_stats(
    cx: Cx<Stream>,
    Json(request): Json<Channel>,
) -> Result<Json<Value>> {
    answer(&cx, methods::PresenceStats(request)).await
}

pub(crate) async fn unsubscribe(
    cx: Cx<Stream>,
    Json(request): Json<Unsubscribe>,
) -> Result<Json<Value>> {
    answer(&cx, request).await
}

pub(crate) async fn disconnect(
    cx: Cx<Stream>,
    Json(request): Json<Disconnect>,
) -> Result<Json<Value>> {
    answer(&cx, request).await
}

pub(crate) async fn info(cx: Cx<Stream>, Json(request): Json<Info>) -> Result<Json<Value>> {
    answer(&cx, request).await
}

pub(crate) async fn subscribe(
    cx: Cx<Stream>,
    Json(request): Json<Subscribe>,
) -> Result<Json<Value>> {
    answer(&cx, request).await
}

pub(crate) async fn refresh(cx: Cx<Stream>, Json(request): Json<Refresh>) -> Result<Json<Value>> {
    answer(&cx, request).await
}

pub(crate) async fn rpc(cx: Cx<Stream>, Json(request): Json<Rpc>) -> Result<Json<Value>> {
    answer(&cx, request).await
}

pub(crate) async fn channels(cx: Cx<Stream>, Json(request): Json<Channels>) -> Result<Json<Value>> {
    answer(&cx, request).await
}

pub(crate) async fn history_remove(
    cx: Cx<Stream>,
    Json(request): Json<Channel>,
) -> Result<Json<Value>> {
    answer(&cx, methods::HistoryRemove(request)).await
}

/// Several methods, one after the other; one that is refused keeps the others from nothing.
pub(crate) async fn batch(cx: Cx<Stream>, Json(batch): Json<Batch>) -> Result<Json<Value>> {
    Ok(Json(batch.carry_out(&cx).await))
}

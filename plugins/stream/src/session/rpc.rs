//! Methods that clients call over their connection.

use nself_plugin_api::prelude::*;
use serde::Deserialize;
use serde_json::value::to_raw_value;
use uuid::Uuid;

use super::answer::{No, Outcome};
use crate::{
    Stream,
    media::{self, State, Watcher},
    protocol::{Answer, Error as Refusal, RPCRequest, RPCResult},
};

/// What the player of a media session says: the same as over HTTP.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Heartbeat {
    session_id: Uuid,
    token: String,
    #[serde(default)]
    device_id: Option<Uuid>,
    #[serde(default)]
    state: State,
    #[serde(default)]
    position_ms: Option<u64>,
}

pub(super) async fn rpc(cx: &Cx<Stream>, caller: &Principal, request: RPCRequest) -> Outcome {
    match &*request.method {
        "stream.heartbeat" => {
            let data = request.data.ok_or(Refusal::BAD_REQUEST)?;
            let heartbeat = serde_json::from_str(data.get()).map_err(|_| Refusal::BAD_REQUEST)?;
            self::heartbeat(cx, caller, heartbeat).await
        }
        _ => Err(Refusal::METHOD_NOT_FOUND.into()),
    }
}

async fn heartbeat(cx: &Cx<Stream>, caller: &Principal, heartbeat: Heartbeat) -> Outcome {
    let watcher = Watcher::new(caller, heartbeat.device_id).map_err(refusal)?;
    let Heartbeat {
        session_id,
        state,
        position_ms,
        ..
    } = heartbeat;
    let beat = media::now(cx, session_id, state, position_ms)?;
    let renewed = media::beat(cx, &watcher, &heartbeat.token, beat)
        .await
        .map_err(refusal)?;
    let data = to_raw_value(&renewed).map_err(Error::internal)?;
    Ok(Some(Answer::Rpc(RPCResult { data })))
}

fn refusal(error: Error) -> No {
    match error.status() {
        403 => Refusal::PERMISSION_DENIED.into(),
        404 => Refusal::SESSION_NOT_FOUND.into(),
        410 => Refusal::SESSION_ENDED.into(),
        _ => error.into(),
    }
}

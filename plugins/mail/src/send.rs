//! `mail.send/1`, the capability that other plugins call.

use nself_plugin_api::{prelude::*, serde_json, uuid::Uuid};
use serde::{Deserialize, Serialize};

use crate::{
    Mail,
    error::MailError,
    letter::{Letter, Receipt, Taken},
    queue, store,
};

/// What `status` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    id: Uuid,
}

/// Answers a call of `mail.send/1`.
pub(crate) async fn call(cx: Cx<Mail>, call: CapabilityCall) -> Result<Vec<u8>> {
    match call.method.as_str() {
        "send" => json(&send(&cx, call.json()?).await?),
        "status" => {
            let Which { id } = call.json()?;
            let progress = store::messages::progress(&cx.db(), id).await?;
            json(&progress.ok_or(MailError::Unknown { id })?)
        }
        _ => {
            let method = call.method;
            Err(MailError::Method { method }.into())
        }
    }
}

/// Puts a mail into the queue, and sees that it leaves at once.
pub(crate) async fn send(cx: &Cx<Mail>, letter: Letter) -> Result<Receipt> {
    let plugin = cx.plugin();
    let message = letter.prepare(&plugin.settings, &plugin.templates)?;
    let now = cx.clock().now()?;
    let receipt = store::messages::insert(&cx.db(), None, &message, now).await?;
    match receipt.status {
        Taken::Queued => queue::wake(cx).await,
        Taken::Suppressed => plugin.metrics.suppressed.record(1.0),
        Taken::Duplicate => {}
    }
    Ok(receipt)
}

fn json(answer: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(answer).map_err(Error::internal)
}

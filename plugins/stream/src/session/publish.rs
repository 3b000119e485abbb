//! Publications of clients.

use std::sync::Arc;

use nself_plugin_api::prelude::*;

use super::{
    Session,
    answer::{No, Outcome},
};
use crate::{
    Stream,
    protocol::{Answer, Error as Refusal, PublishRequest, PublishResult},
    store, told,
};

pub(super) async fn publish(
    cx: &Cx<Stream>,
    session: &Arc<Session>,
    caller: &Principal,
    PublishRequest { channel, data }: PublishRequest,
) -> Outcome {
    let plugin = cx.plugin();
    let channel = plugin.namespaces.resolve(&channel, caller)?;
    if !channel.may_publish(caller) {
        return Err(Refusal::PERMISSION_DENIED.into());
    }
    let data = data.ok_or(Refusal::BAD_REQUEST)?;
    if data.get().len() > usize::try_from(channel.rules.message_bytes_max).unwrap_or(usize::MAX) {
        return Err(Refusal::LIMIT_EXCEEDED.into());
    }
    let now = cx.clock().monotonic()?;
    if !session.may_publish_now(&channel, now) {
        return Err(Refusal::TOO_MANY_REQUESTS.into());
    }
    let info = session.info(caller);
    let published = if channel.rules.ephemeral {
        told::publish(cx, &channel.name, data, None, Some(&info)).await
    } else {
        let new = store::log::New {
            channel: &channel.name,
            data: data.get(),
            info: Some(&info),
            tags: None,
            key: None,
        };
        let appended = store::log::append(&cx.db(), new).await;
        plugin.hub.bell.wake();
        appended.map(|_| ())
    };
    published.map_err(No::from)?;
    Ok(Some(Answer::Publish(PublishResult {})))
}

//! Subscriptions that are the server's doing: those of everybody who connects, those that who only listens names when it
//! connects, and those that a program makes for somebody who is connected.

use std::{collections::BTreeMap, sync::Arc};

use nself_plugin_api::{prelude::*, tracing::debug};
use serde_json::value::RawValue;

use super::{
    Session,
    answer::No,
    subscribe::{admit, bytes_of, enter, recovery_bytes_max},
};
use crate::{
    Stream,
    channel::Channel,
    outlet::Frame,
    protocol::{Push, StreamPosition, Subscribe, SubscribeRequest, SubscribeResult, push},
};

/// Channels that a session is in and not yet told of.
#[derive(Default)]
pub(crate) struct Entered {
    channels: Vec<Channel>,
    /// What it is told, by the channel's name as the client knows it.
    pub results: BTreeMap<String, SubscribeResult>,
}

/// Enters channels, each from where the client was in it. All together give back no more of what was missed than one may.
///
/// # Errors
///
/// When one of them cannot be entered; the session is to end then.
pub(crate) async fn enter_all(
    cx: &Cx<Stream>,
    session: &Arc<Session>,
    caller: &Principal,
    wanted: Vec<(Channel, SubscribeRequest)>,
) -> std::result::Result<Entered, No> {
    let mut entered = Entered::default();
    let mut bytes_left = recovery_bytes_max(cx);
    for (mut channel, request) in wanted {
        // Under two spellings it is one.
        if entered
            .channels
            .iter()
            .any(|known| known.name == channel.name)
        {
            continue;
        }
        let result = enter(cx, session, caller, &mut channel, &request, bytes_left).await?;
        bytes_left = bytes_left.saturating_sub(bytes_of(&result.publications));
        entered.results.insert(channel.spelled.to_string(), result);
        entered.channels.push(channel);
    }
    Ok(entered)
}

impl Entered {
    /// Lets follow what came meanwhile; the session has been told before.
    pub(crate) async fn admit(self, cx: &Cx<Stream>, session: &Arc<Session>) {
        for channel in self.channels {
            admit(cx, session, channel, None).await;
        }
    }
}

/// What everybody of that caller's kind is subscribed to, from where the client was.
pub(crate) fn on_connect(
    cx: &Cx<Stream>,
    caller: &Principal,
    known: &mut BTreeMap<String, SubscribeRequest>,
) -> Vec<(Channel, SubscribeRequest)> {
    let channels = cx.plugin().namespaces.on_connect(caller).into_iter();
    let wanted = channels.map(|channel| {
        let request = known.remove(&*channel.name).unwrap_or_default();
        (channel, request)
    });
    wanted.collect()
}

/// Subscribes somebody who is connected, beside whatever goes on, if their role may read the channel.
pub(crate) fn bring(
    cx: &Cx<Stream>,
    session: Arc<Session>,
    channel: Channel,
    since: Option<StreamPosition>,
    data: Option<Box<RawValue>>,
) {
    let bringing = cx.clone();
    let spawned = cx.tasks().spawn("subscribe", async move {
        let request = since.map(|StreamPosition { offset, epoch }| SubscribeRequest {
            recover: true,
            offset,
            epoch,
            ..SubscribeRequest::default()
        });
        let request = request.unwrap_or_default();
        let channel = channel.by_server();
        let brought = bring_in(&bringing, &session, channel, &request, data.as_deref()).await;
        if let Err(no) = brought {
            debug!(client = %session.client, ?no, "somebody is not subscribed");
        }
        Ok(())
    });
    if let Err(error) = spawned {
        debug!(%error, "somebody is not subscribed");
    }
}

async fn bring_in(
    cx: &Cx<Stream>,
    session: &Arc<Session>,
    mut channel: Channel,
    request: &SubscribeRequest,
    data: Option<&RawValue>,
) -> std::result::Result<(), No> {
    let caller = session.caller()?;
    let bytes_max = recovery_bytes_max(cx);
    let result = enter(cx, session, &caller, &mut channel, request, bytes_max).await?;
    // What was missed comes behind what is known then.
    let missed = result.publications.first();
    let offset = missed.map_or(result.offset, |first| first.offset - 1);
    let name = &*channel.spelled;
    let begun = Push {
        channel: name,
        subscribe: Some(Subscribe {
            recoverable: result.recoverable,
            epoch: &result.epoch,
            offset,
            positioned: result.positioned,
            data,
        }),
        ..Push::default()
    };
    session.outlet.send(&Frame::from(push(begun)));
    for publication in &result.publications {
        let missed = Push {
            channel: name,
            publication: Some(publication),
            ..Push::default()
        };
        session.outlet.send(&Frame::from(push(missed)));
    }
    admit(cx, session, channel, None).await;
    Ok(())
}

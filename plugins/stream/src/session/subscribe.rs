//! Subscriptions: from a position on without a gap, or honestly with one.

use std::sync::Arc;

use nself_plugin_api::prelude::*;

use super::{
    Session,
    answer::{No, Outcome},
    user,
};
use crate::{
    Stream,
    channel::Channel,
    config::Config,
    hub::{Place, Returning},
    leaving,
    outlet::Frame,
    protocol::{
        Answer, Error as Refusal, Publication, Reply, SubscribeRequest, SubscribeResult,
        Unsubscribe, UnsubscribeRequest, UnsubscribeResult,
    },
    store, told,
};

pub(super) async fn subscribe(
    cx: &Cx<Stream>,
    session: &Arc<Session>,
    caller: &Principal,
    id: u32,
    request: SubscribeRequest,
) -> Outcome {
    let plugin = cx.plugin();
    let channel = plugin.namespaces.resolve(&request.channel, caller)?;
    if !channel.may_subscribe(caller) {
        return Err(Refusal::PERMISSION_DENIED.into());
    }
    session.reserve(&channel, plugin.config.channels_per_connection)?;
    let result = match begin(cx, session, caller, &channel, &request).await {
        Ok(result) => result,
        Err(error) => {
            session.forget(&channel.name);
            leaving::leave(cx, session, vec![channel]);
            return Err(No::from(error));
        }
    };
    let reply = Reply {
        id,
        result: Some(Answer::Subscribe(result)),
        ..Reply::default()
    };
    plugin
        .hub
        .admit(&channel.name, session.client, &Frame::from(reply.frame()));
    if channel.rules.join_leave {
        told::joined(cx, &channel.name, &session.info(caller)).await;
    }
    // What was taken away while this was under way was not seen as something to end.
    let may_still = session
        .principal()
        .is_some_and(|now| channel.may_subscribe(&now));
    if session.is_over() || !may_still {
        session.forget(&channel.name);
        leaving::unsubscribe(cx, session, &[channel], Unsubscribe::SERVER);
    }
    Ok(None)
}

async fn begin(
    cx: &Cx<Stream>,
    session: &Arc<Session>,
    caller: &Principal,
    channel: &Channel,
    request: &SubscribeRequest,
) -> Result<SubscribeResult> {
    let plugin = cx.plugin();
    if channel.rules.presence {
        let (client, node, user) = (session.client, plugin.node, user(caller));
        store::presence::enter(&cx.db(), &channel.name, client, node, &user).await?;
    }
    if channel.rules.ephemeral {
        plugin.hub.enter(channel, None, session);
        return Ok(SubscribeResult {
            was_recovering: request.recover,
            ..SubscribeResult::default()
        });
    }
    if let Some((place, missed)) = delivered_lately(cx, session, channel, request)? {
        return Ok(SubscribeResult {
            recoverable: true,
            positioned: true,
            epoch: place.epoch,
            offset: place.top,
            was_recovering: true,
            recovered: true,
            publications: missed,
        });
    }
    let place = store::log::locate(&cx.db(), &channel.name).await?;
    let upto = plugin.hub.enter(channel, Some(&place), session);
    plugin.hub.bell.wake();
    if !channel.is_recoverable() {
        return Ok(SubscribeResult {
            was_recovering: request.recover,
            ..SubscribeResult::default()
        });
    }
    let missed = if request.recover {
        missed(cx, channel, &place, request, upto).await?
    } else {
        None
    };
    Ok(SubscribeResult {
        recoverable: true,
        positioned: true,
        epoch: place.epoch,
        offset: upto,
        was_recovering: request.recover,
        recovered: missed.is_some(),
        publications: missed.unwrap_or_default(),
    })
}

/// What the client has missed, if this host has delivered it to others a moment ago: then nothing is asked of the database.
fn delivered_lately(
    cx: &Cx<Stream>,
    session: &Arc<Session>,
    channel: &Channel,
    request: &SubscribeRequest,
) -> Result<Option<(Place, Vec<Publication>)>> {
    if !request.recover || !channel.is_recoverable() {
        return Ok(None);
    }
    let Config {
        recovery_max,
        queue_bytes_max,
        ..
    } = cx.plugin().config;
    let now_ms = cx.clock().now()?.as_millisecond();
    let returning = Returning {
        epoch: &request.epoch,
        offset: request.offset,
        amount_max: recovery_max.into(),
        bytes_max: usize::try_from(queue_bytes_max / 2).unwrap_or(usize::MAX),
        oldest_ms: now_ms - i64::from(channel.rules.history_seconds) * 1_000,
    };
    Ok(cx.plugin().hub.come_back(channel, session, &returning))
}

/// What the client has missed, whole; `None` when that cannot be had.
async fn missed(
    cx: &Cx<Stream>,
    channel: &Channel,
    place: &Place,
    request: &SubscribeRequest,
    upto: i64,
) -> Result<Option<Vec<Publication>>> {
    let limit = i64::from(cx.plugin().config.recovery_max);
    let amount = upto.checked_sub(request.offset);
    let Some(amount @ 0..) = amount.filter(|amount| *amount <= limit) else {
        return Ok(None);
    };
    if request.offset < 0 || request.epoch != place.epoch {
        return Ok(None);
    }
    if amount == 0 {
        return Ok(Some(Vec::new()));
    }
    let since = Some(request.offset);
    let mut missed = store::log::history(&cx.db(), &channel.name, since, amount, false).await?;
    missed.retain(|publication| publication.offset <= upto);
    let wanted = request.offset + 1..=upto;
    let is_whole = missed
        .iter()
        .map(|publication| publication.offset)
        .eq(wanted);
    // More than may wait for a client would cut it off, and bring it back for the same.
    let bytes: usize = missed
        .iter()
        .map(|publication| publication.data.get().len())
        .sum();
    let bytes_max = usize::try_from(cx.plugin().config.queue_bytes_max / 2).unwrap_or(usize::MAX);
    Ok((is_whole && bytes <= bytes_max).then_some(missed))
}

pub(super) fn unsubscribe(
    cx: &Cx<Stream>,
    session: &Arc<Session>,
    caller: &Principal,
    request: &UnsubscribeRequest,
) -> Answer {
    let channel = cx.plugin().namespaces.resolve(&request.channel, caller);
    // What is no channel, or none any more, is not subscribed to: that is all that was asked for.
    if let Some(channel) = channel
        .ok()
        .and_then(|channel| session.forget(&channel.name))
    {
        leaving::leave(cx, session, vec![channel]);
    }
    Answer::Unsubscribe(UnsubscribeResult {})
}

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
    deltas::{self, FOSSIL},
    hub::{Place, Returning},
    leaving,
    outlet::Frame,
    protocol::{
        Answer, Disconnect, Error as Refusal, Publication, Reply, SubscribeRequest,
        SubscribeResult, Unsubscribe, UnsubscribeRequest, UnsubscribeResult,
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
    if !request.delta.is_empty() && request.delta != FOSSIL {
        return Err(Disconnect::BAD_REQUEST.into());
    }
    let mut channel = plugin.namespaces.resolve(&request.channel, caller)?;
    channel.takes_deltas = channel.rules.deltas && request.delta == FOSSIL;
    plugin.hub.share_names(&mut channel);
    let result = enter(
        cx,
        session,
        caller,
        &mut channel,
        &request,
        recovery_bytes_max(cx),
    )
    .await?;
    let reply = Reply {
        id,
        result: Some(Answer::Subscribe(result)),
        ..Reply::default()
    };
    admit(cx, session, channel, Some(&Frame::from(reply.frame()))).await;
    Ok(None)
}

/// Bytes that a client is given of what it missed. More than may wait for it would cut it off, and bring it back for the same.
pub(super) fn recovery_bytes_max(cx: &Cx<Stream>) -> usize {
    usize::try_from(cx.plugin().config.queue_bytes_max / 2).unwrap_or(usize::MAX)
}

/// Lets a session into a channel that it may read. What is published from here on waits until [`admit`].
///
/// # Errors
///
/// When it may not, or cannot; then nothing has happened.
pub(super) async fn enter(
    cx: &Cx<Stream>,
    session: &Arc<Session>,
    caller: &Principal,
    channel: &mut Channel,
    request: &SubscribeRequest,
    bytes_max: usize,
) -> std::result::Result<SubscribeResult, No> {
    if !channel.may_subscribe(caller) {
        return Err(Refusal::PERMISSION_DENIED.into());
    }
    session.reserve(channel, cx.plugin().config.channels_per_connection)?;
    let begun = begin(cx, session, caller, channel, request, bytes_max).await;
    let begun = begun.map_err(No::from).and_then(|result| {
        if request.is_whole_or_nothing() && !result.recovered {
            return Err(Refusal::UNRECOVERABLE_POSITION.into());
        }
        Ok(result)
    });
    if begun.is_err() {
        session.forget(&channel.name);
        leaving::leave(cx, session, vec![channel.clone()]);
    }
    begun
}

/// Lets follow what came since [`enter`], behind an answer where there is one.
pub(super) async fn admit(
    cx: &Cx<Stream>,
    session: &Arc<Session>,
    channel: Channel,
    answer: Option<&Frame>,
) {
    let hub = &cx.plugin().hub;
    hub.admit(&channel.name, session.client, answer);
    if channel.is_announced()
        && !channel.is_back
        && let Some(caller) = session.principal()
    {
        told::joined(cx, &channel.name, &session.info(&caller)).await;
    }
    // What was taken away while this was under way was not seen as something to end.
    let may_still = session
        .principal()
        .is_some_and(|now| channel.may_subscribe(&now));
    if session.is_over() || !may_still {
        session.forget(&channel.name);
        leaving::unsubscribe(cx, session, &[channel], Unsubscribe::SERVER);
    }
}

async fn begin(
    cx: &Cx<Stream>,
    session: &Arc<Session>,
    caller: &Principal,
    channel: &mut Channel,
    request: &SubscribeRequest,
    bytes_max: usize,
) -> Result<SubscribeResult> {
    let plugin = cx.plugin();
    if channel.is_listed() {
        let (client, node, user) = (session.known_as(), plugin.node, user(caller));
        let (db, name) = (cx.db(), &*channel.name);
        channel.is_back = store::presence::enter(&db, name, client, node, &user).await?;
    }
    if channel.rules.ephemeral {
        plugin.hub.enter(channel, None, session);
        return Ok(SubscribeResult {
            was_recovering: request.recover,
            ..SubscribeResult::default()
        });
    }
    if let Some((place, missed)) = delivered_lately(cx, session, channel, request, bytes_max)? {
        let Place { epoch, top, .. } = place;
        return Ok(begun(channel, request, epoch, top, Some(missed)));
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
    let since = request.since(&place.epoch).filter(|_| request.recover);
    let missed = match since {
        Some(since) => missed(cx, channel, since..upto, bytes_max).await?,
        None if request.is_from_the_earliest => Some(kept(cx, channel, upto, bytes_max).await?),
        None => None,
    };
    Ok(begun(channel, request, place.epoch, upto, missed))
}

/// A subscription that begins there, behind what was missed, if that could be had.
fn begun(
    channel: &Channel,
    request: &SubscribeRequest,
    epoch: String,
    offset: i64,
    missed: Option<Vec<Publication>>,
) -> SubscribeResult {
    let recovered = missed.is_some();
    let mut publications = missed.unwrap_or_default();
    if channel.takes_deltas {
        publications = publications.iter().map(deltas::whole).collect();
    }
    SubscribeResult {
        recoverable: true,
        positioned: true,
        epoch,
        offset,
        was_recovering: request.recover,
        recovered,
        publications,
        delta: channel.takes_deltas,
    }
}

/// What the client has missed, if this host has delivered it to others a moment ago: then nothing is asked of the database.
fn delivered_lately(
    cx: &Cx<Stream>,
    session: &Arc<Session>,
    channel: &Channel,
    request: &SubscribeRequest,
    bytes_max: usize,
) -> Result<Option<(Place, Vec<Publication>)>> {
    if !request.recover || !channel.is_recoverable() {
        return Ok(None);
    }
    let now_ms = cx.clock().now()?.as_millisecond();
    let returning = Returning {
        request,
        amount_max: cx.plugin().config.recovery_max.into(),
        bytes_max,
        oldest_ms: now_ms - i64::from(channel.rules.history_seconds) * 1_000,
    };
    Ok(cx.plugin().hub.come_back(channel, session, &returning))
}

/// What the client has missed behind the first of these offsets, whole; `None` when that cannot be had.
async fn missed(
    cx: &Cx<Stream>,
    channel: &Channel,
    offsets: std::ops::Range<i64>,
    bytes_max: usize,
) -> Result<Option<Vec<Publication>>> {
    let (since, upto) = (offsets.start, offsets.end);
    let limit = i64::from(cx.plugin().config.recovery_max);
    let amount = upto.checked_sub(since);
    let Some(amount @ 0..) = amount.filter(|amount| *amount <= limit && since >= 0) else {
        return Ok(None);
    };
    if amount == 0 {
        return Ok(Some(Vec::new()));
    }
    let (db, name) = (cx.db(), &*channel.name);
    let mut missed = store::log::history(&db, name, Some(since), amount, false).await?;
    missed.retain(|publication| publication.offset <= upto);
    let is_whole = missed
        .iter()
        .map(|publication| publication.offset)
        .eq(since + 1..=upto);
    Ok((is_whole && bytes_of(&missed) <= bytes_max).then_some(missed))
}

/// What is kept of a channel up to there, or the newest of it that a client is given at once.
async fn kept(
    cx: &Cx<Stream>,
    channel: &Channel,
    upto: i64,
    bytes_max: usize,
) -> Result<Vec<Publication>> {
    let limit = i64::from(cx.plugin().config.recovery_max);
    let newest = store::log::history(&cx.db(), &channel.name, None, limit, true).await?;
    let known = newest
        .into_iter()
        .filter(|publication| publication.offset <= upto);
    let mut bytes = 0;
    let fits = |publication: &Publication| {
        bytes += publication.data.get().len();
        bytes <= bytes_max
    };
    let mut kept: Vec<_> = known.take_while(fits).collect();
    kept.reverse();
    Ok(kept)
}

/// The size of what publications say.
pub(super) fn bytes_of(publications: &[Publication]) -> usize {
    let sizes = publications.iter().map(|one| one.data.get().len());
    sizes.sum()
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

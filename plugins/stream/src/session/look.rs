//! What is there: the history of a channel, and who is in it.

use std::collections::{BTreeMap, BTreeSet};

use nself_plugin_api::prelude::*;

use super::answer::Outcome;
use crate::{
    Stream,
    channel::Channel,
    protocol::{
        Answer, ClientInfo, Error as Refusal, HistoryRequest, HistoryResult, PresenceRequest,
        PresenceResult, PresenceStatsRequest, PresenceStatsResult,
    },
    store,
};

/// The channel, if the caller may read it.
fn readable(
    cx: &Cx<Stream>,
    caller: &Principal,
    channel: &str,
) -> std::result::Result<Channel, Refusal> {
    let channel = cx.plugin().namespaces.resolve(channel, caller)?;
    if channel.may_subscribe(caller) {
        Ok(channel)
    } else {
        Err(Refusal::PERMISSION_DENIED)
    }
}

pub(super) async fn history(
    cx: &Cx<Stream>,
    caller: &Principal,
    request: HistoryRequest,
) -> Outcome {
    let channel = readable(cx, caller, &request.channel)?;
    if !channel.is_recoverable() {
        return Err(Refusal::NOT_AVAILABLE.into());
    }
    let (db, name) = (cx.db(), &*channel.name);
    let place = store::log::locate(&db, name).await?;
    let since = request.since.as_ref();
    if since.is_some_and(|since| !since.epoch.is_empty() && since.epoch != place.epoch) {
        return Err(Refusal::UNRECOVERABLE_POSITION.into());
    }
    let most = i64::from(cx.plugin().config.recovery_max);
    let limit = if request.limit < 0 {
        most
    } else {
        request.limit.min(most)
    };
    let publications = if limit == 0 {
        Vec::new()
    } else {
        let since = since.map(|since| since.offset);
        store::log::history(&db, name, since, limit, request.reverse).await?
    };
    Ok(Some(Answer::History(HistoryResult {
        publications,
        epoch: place.epoch,
        offset: place.top,
    })))
}

async fn present(
    cx: &Cx<Stream>,
    caller: &Principal,
    channel: &str,
) -> std::result::Result<Vec<ClientInfo>, super::answer::No> {
    let channel = readable(cx, caller, channel)?;
    if !channel.rules.presence {
        return Err(Refusal::NOT_AVAILABLE.into());
    }
    Ok(store::presence::all(&cx.db(), &channel.name).await?)
}

pub(super) async fn presence(
    cx: &Cx<Stream>,
    caller: &Principal,
    request: &PresenceRequest,
) -> Outcome {
    let present = present(cx, caller, &request.channel).await?;
    let presence: BTreeMap<_, _> = present
        .into_iter()
        .map(|info| (info.client.clone(), info))
        .collect();
    Ok(Some(Answer::Presence(PresenceResult { presence })))
}

pub(super) async fn presence_stats(
    cx: &Cx<Stream>,
    caller: &Principal,
    request: &PresenceStatsRequest,
) -> Outcome {
    let present = present(cx, caller, &request.channel).await?;
    let users: BTreeSet<&str> = present.iter().map(|info| &*info.user).collect();
    Ok(Some(Answer::PresenceStats(PresenceStatsResult {
        num_clients: present.len(),
        num_users: users.len(),
    })))
}

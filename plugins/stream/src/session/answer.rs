//! Commands, one after the other: what is asked for is done elsewhere, here it gets its answer.

use std::sync::Arc;

use nself_plugin_api::{prelude::*, tracing::warn};

use super::{Session, connect, look, publish, rpc, subscribe};
use crate::{
    Stream,
    outlet::Frame,
    protocol::{Answer, Command, Disconnect, Error as Refusal, PingResult, Reply},
};

/// What came of a command: its answer, nothing because it has been answered already, or no.
pub(super) type Outcome = std::result::Result<Option<Answer>, No>;

/// Why a command has no result.
#[derive(Debug)]
pub(crate) enum No {
    /// The client is told.
    Refused(Refusal),
    /// The client is sent away.
    Ended(Disconnect),
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Disconnect> for No {
    fn from(why: Disconnect) -> Self {
        Self::Ended(why)
    }
}

/// What fails on our side is for the log; the client may try again.
impl From<Error> for No {
    fn from(error: Error) -> Self {
        // What JSON may hold and Postgres may not, as \u0000, is the client's matter.
        let is_theirs = matches!(
            error.sqlstate().as_deref(),
            Some("22P05" | "22P02" | "22021" | "22003" | "54001")
        );
        if is_theirs {
            return Self::Refused(Refusal::BAD_REQUEST);
        }
        warn!(%error, cause = error.cause(), "a command failed");
        Self::Refused(Refusal::INTERNAL)
    }
}

/// Carries out a command.
///
/// # Errors
///
/// When the connection is to end.
pub(crate) async fn handle(
    cx: &Cx<Stream>,
    session: &Arc<Session>,
    command: Command,
) -> std::result::Result<(), Disconnect> {
    let id = command.id;
    let Command { send, .. } = &command;
    if id == 0 {
        // The answer to a ping, or a message that wants none.
        let is_silent = send.is_some() || !asks(&command);
        session.pong();
        return is_silent.then_some(()).ok_or(Disconnect::BAD_REQUEST);
    }
    let (result, error) = match outcome(cx, session, command).await {
        Ok(None) => return Ok(()),
        Ok(result) => (result, None),
        Err(No::Refused(refusal)) => (None, Some(refusal)),
        Err(No::Ended(why)) => return Err(why),
    };
    let reply = Reply {
        id,
        error,
        result,
        ..Reply::default()
    };
    session.outlet.send(&Frame::from(reply.frame()));
    Ok(())
}

fn asks(command: &Command) -> bool {
    let Command {
        id: _,
        connect,
        subscribe,
        unsubscribe,
        publish,
        presence,
        presence_stats,
        history,
        ping,
        send: _,
        rpc,
        refresh,
        sub_refresh,
    } = command;
    connect.is_some()
        || subscribe.is_some()
        || unsubscribe.is_some()
        || publish.is_some()
        || presence.is_some()
        || presence_stats.is_some()
        || history.is_some()
        || ping.is_some()
        || rpc.is_some()
        || refresh.is_some()
        || sub_refresh.is_some()
}

async fn outcome(cx: &Cx<Stream>, session: &Arc<Session>, command: Command) -> Outcome {
    let id = command.id;
    // Publications have a rate of their own, by their namespace.
    let now = cx.clock().monotonic()?;
    if command.publish.is_none() && !session.may_ask_now(&cx.plugin().config, now) {
        return Err(Refusal::TOO_MANY_REQUESTS.into());
    }
    if let Some(request) = command.connect {
        return connect::connect(cx, session, id, request).await;
    }
    let caller = session.caller()?;
    if let Some(request) = command.subscribe {
        subscribe::subscribe(cx, session, &caller, id, request).await
    } else if let Some(request) = command.unsubscribe {
        Ok(Some(subscribe::unsubscribe(cx, session, &caller, &request)))
    } else if let Some(request) = command.publish {
        publish::publish(cx, session, &caller, request).await
    } else if let Some(request) = command.history {
        look::history(cx, &caller, request).await
    } else if let Some(request) = command.presence {
        look::presence(cx, &caller, &request).await
    } else if let Some(request) = command.presence_stats {
        look::presence_stats(cx, &caller, &request).await
    } else if let Some(request) = command.refresh {
        connect::refresh(cx, session, request).await
    } else if command.ping.is_some() {
        Ok(Some(Answer::Ping(PingResult {})))
    } else if command.sub_refresh.is_some() {
        // Subscriptions have no tokens of their own here.
        Err(Refusal::NOT_AVAILABLE.into())
    } else if let Some(request) = command.rpc {
        rpc::rpc(cx, &caller, request).await
    } else {
        Err(Disconnect::BAD_REQUEST.into())
    }
}

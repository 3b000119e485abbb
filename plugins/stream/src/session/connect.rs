//! Whose a connection is: said once with a token, and again before that one ends.

use std::{collections::BTreeMap, sync::Arc};

use nself_plugin_api::{capability::tokens::Receipt, prelude::*};

use super::{
    Bearer, Session, again,
    answer::{No, Outcome},
    by_server, user,
};
use crate::{
    Stream,
    channel::Channel,
    leaving,
    outlet::Frame,
    protocol::{
        Answer, ConnectRequest, ConnectResult, Disconnect, Error as Refusal, RefreshRequest,
        RefreshResult, Reply, Unsubscribe,
    },
    standing,
};

const VERSION: &str = concat!("nself-stream ", env!("CARGO_PKG_VERSION"));

/// Shortest time that a client is told to wait before it refreshes.
const TTL_MIN: u64 = 1;

pub(super) async fn connect(
    cx: &Cx<Stream>,
    session: &Arc<Session>,
    id: u32,
    request: ConnectRequest,
) -> Outcome {
    let instance = request.instance();
    let ConnectRequest {
        token, mut subs, ..
    } = request;
    let mut result = begin(cx, session, token, instance).await?;
    let caller = session.caller()?;
    let wanted = by_server::on_connect(cx, &caller, &mut subs);
    // Half a connection is none: the client comes again.
    let entered = by_server::enter_all(cx, session, &caller, wanted).await;
    let mut entered = entered.map_err(|_| Disconnect::SERVER_ERROR)?;
    result.subs = std::mem::take(&mut entered.results);
    let reply = Reply {
        id,
        result: Some(Answer::Connect(result)),
        ..Reply::default()
    };
    session.outlet.send(&Frame::from(reply.frame()));
    entered.admit(cx, session).await;
    Ok(None)
}

/// Takes a token: the session belongs to its bearer from here on.
///
/// # Errors
///
/// What the client is told, or why it is sent away.
pub(crate) async fn begin(
    cx: &Cx<Stream>,
    session: &Arc<Session>,
    token: String,
    instance: Option<String>,
) -> std::result::Result<ConnectResult, No> {
    if session.principal().is_some() {
        return Err(Disconnect::BAD_REQUEST.into());
    }
    if token.is_empty() {
        return Err(Refusal::UNAUTHORIZED.into());
    }
    let received = cx.tokens().receive(&token);
    let (principal, receipt) = received.map_err(|error| Unfit::from(error).at_the_door())?;
    let principal = standing::of_one(cx, principal).await?;
    // Tokens are taken a little beyond their end; who cannot bring a newer one would only be sent away again.
    if !session.answers_pings() && seconds_left(cx, principal.expires_at)? == 0 {
        return Err(Refusal::TOKEN_EXPIRED.into());
    }
    let (config, user) = (&cx.plugin().config, user(&principal));
    again::take_over(cx, session, &user, instance.as_deref())?;
    if !cx.plugin().hub.claim(&user, config.connections_per_user) {
        return Err(again::no_room(cx, &user)?);
    }
    let ttl = ttl(cx, principal.expires_at)?;
    session.begin(receipt, principal);
    Ok(ConnectResult {
        client: session.known_as().to_string(),
        version: VERSION,
        expires: true,
        ttl,
        subs: BTreeMap::new(),
        ping: config.ping_seconds,
        pong: session.answers_pings(),
        node: cx.plugin().node.to_string(),
    })
}

/// Whose the token of a request is, less what was taken away since.
///
/// # Errors
///
/// What the client is told, or why it is sent away.
pub(crate) async fn bearer_of(cx: &Cx<Stream>, token: &str) -> std::result::Result<Principal, No> {
    if token.is_empty() {
        return Err(Refusal::UNAUTHORIZED.into());
    }
    let verified = cx.tokens().verify(token);
    let principal = verified.map_err(|error| Unfit::from(error).at_the_door())?;
    Ok(standing::of_one(cx, principal).await?)
}

pub(super) async fn refresh(
    cx: &Cx<Stream>,
    session: &Arc<Session>,
    RefreshRequest { token }: RefreshRequest,
) -> Outcome {
    let received = cx.tokens().receive(&token);
    let (principal, receipt) = received.map_err(|error| match Unfit::from(error) {
        // Coming again with a new one is what helps.
        Unfit::Over => Disconnect::EXPIRED.into(),
        Unfit::Forged => Disconnect::INVALID_TOKEN.into(),
        Unfit::Unknown(error) => No::from(error),
    })?;
    let principal = standing::of_one(cx, principal).await?;
    let (lost, end) = session
        .go_on(receipt, principal)
        .ok_or(Disconnect::INVALID_TOKEN)?;
    let ttl = ttl(cx, end)?;
    leaving::unsubscribe(cx, session, &lost, Unsubscribe::SERVER);
    Ok(Some(Answer::Refresh(RefreshResult {
        client: session.known_as().to_string(),
        version: VERSION,
        expires: true,
        ttl,
    })))
}

/// What is wrong with a token.
enum Unfit {
    /// It was good once: a newer one may be.
    Over,
    /// It never was.
    Forged,
    /// Nobody knows at the moment.
    Unknown(Error),
}

impl From<Error> for Unfit {
    fn from(error: Error) -> Self {
        match error.code() {
            "TOKEN_EXPIRED" | "TOKEN_OUTDATED" => Self::Over,
            _ if error.status() == 401 => Self::Forged,
            _ => Self::Unknown(error),
        }
    }
}

impl Unfit {
    /// What somebody is told who comes with it.
    fn at_the_door(self) -> No {
        match self {
            Self::Over => Refusal::TOKEN_EXPIRED.into(),
            Self::Forged => Disconnect::INVALID_TOKEN.into(),
            Self::Unknown(error) => No::from(error),
        }
    }
}

/// Seconds until that end, as a client is told them.
pub(crate) fn ttl(cx: &Cx<Stream>, end: u64) -> Result<u32> {
    let left = seconds_left(cx, end)?.max(TTL_MIN);
    Ok(u32::try_from(left).unwrap_or(u32::MAX))
}

fn seconds_left(cx: &Cx<Stream>, end: u64) -> Result<u64> {
    let now = cx.clock().now()?.as_second().unsigned_abs();
    Ok(end.saturating_sub(now))
}

impl Session {
    fn begin(&self, receipt: Receipt, principal: Principal) {
        self.state().bearer = Some(Bearer::new(receipt, principal, None));
    }

    /// Takes over a newer token of the same bearer, and gives back the subscriptions that are lost by it, and the end of the
    /// connection. `None` when it is somebody else's: nobody becomes another one, or goes into another family, on a live connection.
    fn go_on(&self, receipt: Receipt, principal: Principal) -> Option<(Vec<Channel>, u64)> {
        let mut state = self.state();
        let bearer = state.bearer.as_mut()?;
        let (old, new) = (&bearer.principal, &principal);
        let is_same = user(old) == user(new)
            && (old.family_id == new.family_id
                || old.family_id.is_none()
                || new.family_id.is_none());
        if !is_same {
            return None;
        }
        let role = principal.role;
        // What a program said of the end holds until there is a token that was not there then.
        let is_newer = principal.expires_at > bearer.principal.expires_at;
        let ends_at = bearer.ends_at.filter(|_| !is_newer);
        *bearer = Bearer::new(receipt, principal, ends_at);
        let end = bearer.end();
        drop(state);
        Some((self.change(role), end))
    }
}

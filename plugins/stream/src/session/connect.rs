//! Whose a connection is: said once with a token, and again before that one ends.

use std::sync::Arc;

use nself_plugin_api::prelude::*;

use super::{Bearer, Session, answer::Outcome, user};
use crate::{
    Stream, leaving,
    protocol::{
        Answer, ConnectRequest, ConnectResult, Disconnect, Error as Refusal, RefreshRequest,
        RefreshResult, Unsubscribe,
    },
    session::answer::No,
    standing,
};

const VERSION: &str = concat!("nself-stream ", env!("CARGO_PKG_VERSION"));

/// Shortest time that a client is told to wait before it refreshes.
const TTL_MIN: u64 = 1;

pub(super) async fn connect(
    cx: &Cx<Stream>,
    session: &Arc<Session>,
    ConnectRequest { token }: ConnectRequest,
) -> Outcome {
    if session.principal().is_some() {
        return Err(Disconnect::BAD_REQUEST.into());
    }
    if token.is_empty() {
        return Err(Refusal::UNAUTHORIZED.into());
    }
    let principal = verify(cx, &token).map_err(|unfit| match unfit {
        Unfit::Over => Refusal::TOKEN_EXPIRED.into(),
        Unfit::Forged => Disconnect::INVALID_TOKEN.into(),
        Unfit::Unknown(error) => No::from(error),
    })?;
    // What the token says may have been taken away since.
    let principal = standing::of_one(cx, principal).await?;
    let config = &cx.plugin().config;
    if !cx
        .plugin()
        .hub
        .claim(&user(&principal), config.connections_per_user)
    {
        return Err(Disconnect::CONNECTION_LIMIT.into());
    }
    let ttl = ttl(cx, &principal)?;
    session.begin(token.into(), principal);
    Ok(Some(Answer::Connect(ConnectResult {
        client: session.client.to_string(),
        version: VERSION,
        expires: true,
        ttl,
        ping: config.ping_seconds,
        pong: true,
        node: cx.plugin().node.to_string(),
    })))
}

pub(super) async fn refresh(
    cx: &Cx<Stream>,
    session: &Arc<Session>,
    RefreshRequest { token }: RefreshRequest,
) -> Outcome {
    let principal = verify(cx, &token).map_err(|unfit| match unfit {
        // Coming again with a new one is what helps.
        Unfit::Over => Disconnect::EXPIRED.into(),
        Unfit::Forged => Disconnect::INVALID_TOKEN.into(),
        Unfit::Unknown(error) => No::from(error),
    })?;
    let principal = standing::of_one(cx, principal).await?;
    let ttl = ttl(cx, &principal)?;
    let lost = session
        .go_on(token.into(), principal)
        .ok_or(Disconnect::INVALID_TOKEN)?;
    leaving::unsubscribe(cx, session, &lost, Unsubscribe::SERVER);
    Ok(Some(Answer::Refresh(RefreshResult {
        client: session.client.to_string(),
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

fn verify(cx: &Cx<Stream>, token: &str) -> std::result::Result<Principal, Unfit> {
    cx.tokens()
        .verify(token)
        .map_err(|error| match error.code() {
            "TOKEN_EXPIRED" | "TOKEN_OUTDATED" => Unfit::Over,
            _ if error.status() == 401 => Unfit::Forged,
            _ => Unfit::Unknown(error),
        })
}

/// Seconds that the bearer's token is still good.
fn ttl(cx: &Cx<Stream>, principal: &Principal) -> Result<u32> {
    let now = cx.clock().now()?.as_second().unsigned_abs();
    let left = principal.expires_at.saturating_sub(now).max(TTL_MIN);
    Ok(u32::try_from(left).unwrap_or(u32::MAX))
}

impl Session {
    fn begin(&self, token: Box<str>, principal: Principal) {
        self.state().bearer = Some(Bearer { token, principal });
    }

    /// Takes over a newer token of the same bearer, and gives back the subscriptions that are lost by it. `None` when it is
    /// somebody else's: nobody becomes another one, or goes into another family, on a live connection.
    fn go_on(&self, token: Box<str>, principal: Principal) -> Option<Vec<crate::channel::Channel>> {
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
        *bearer = Bearer { token, principal };
        drop(state);
        Some(self.change(role))
    }
}

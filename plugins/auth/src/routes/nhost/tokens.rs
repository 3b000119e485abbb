//! `/token`, `/token/exchange`, `/token/verify`, `/signout`, `/pat`: what becomes of tokens.

use nself_plugin_api::{
    jiff::Timestamp,
    prelude::*,
    serde_json::{Map, Value},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Answer, OK, Sent, Session, SessionPayload, answer};
use crate::{
    Auth,
    api_token::{self, Wish},
    caller::Caller,
    introspection, session, session_code,
    store::sessions::{self, End},
    throttle::{self, Action},
};

/// Which session goes on.
#[derive(Deserialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refresh {
    /// The last one that was given out.
    pub refresh_token: String,
}

pub(crate) async fn refresh(
    cx: Cx<Auth>,
    caller: Caller,
    Sent(sent): Sent<Refresh>,
) -> Result<Answer<Session>> {
    answer(async {
        let token = sent?.refresh_token;
        let tokens = session::refresh(&cx, &token, None, &caller).await?;
        super::session(&cx, tokens).await
    })
    .await
}

/// A code that a browser has brought.
#[derive(Deserialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Exchange {
    /// As it stands in the address.
    pub code: String,
    /// The secret whose S256 was sent before.
    pub code_verifier: String,
}

pub(crate) async fn exchange(
    cx: Cx<Auth>,
    caller: Caller,
    Sent(sent): Sent<Exchange>,
) -> Result<Answer<SessionPayload>> {
    answer(async {
        let Exchange {
            code,
            code_verifier,
        } = sent?;
        throttle::address(&cx, Action::Code, &caller).await?;
        let tokens = session_code::exchange(&cx, &code, &code_verifier).await?;
        SessionPayload::of(&cx, tokens).await
    })
    .await
}

/// A token to be looked at; the request's own without one.
#[derive(Default, Deserialize, Schema)]
#[serde(default)]
pub(crate) struct Verification {
    /// An access token.
    pub token: Option<String>,
}

pub(crate) async fn verify(
    cx: Cx<Auth>,
    principal: Option<Principal>,
    Sent(sent): Sent<Verification>,
) -> Result<Answer<&'static str>> {
    answer(async {
        let is_good = match sent?.token {
            Some(token) => {
                let now = cx.clock().now()?;
                let found = introspection::of_access(&cx, &token, now).await?;
                found.is_some()
            }
            None => principal.is_some(),
        };
        is_good.then_some(OK).ok_or_else(unauthenticated)
    })
    .await
}

/// What ends.
#[derive(Default, Deserialize, Schema)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SignOut {
    /// Of the session that ends.
    pub refresh_token: Option<String>,
    /// Every session of the person who asks.
    pub all: bool,
}

pub(crate) async fn sign_out(
    cx: Cx<Auth>,
    principal: Option<Principal>,
    Sent(sent): Sent<SignOut>,
) -> Result<Answer<&'static str>> {
    answer(async {
        let sent = sent?;
        if sent.all {
            let user_id = principal.ok_or_else(unauthenticated)?.user()?;
            let end = End::of("signed_out", cx.clock().now()?);
            sessions::revoke_others(&cx.db(), user_id, None, end).await?;
        } else {
            let missing = || Error::bad_request("BODY_INVALID", "refreshToken: is missing");
            session::end_by_token(&cx, &sent.refresh_token.ok_or_else(missing)?).await?;
        }
        Ok(OK)
    })
    .await
}

/// A token for scripts.
#[derive(Deserialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewToken {
    /// When it ends: within 366 days.
    pub expires_at: Timestamp,
    /// What the app says of it; `name` is what its owner sees.
    #[serde(default)]
    pub metadata: Option<Map<String, Value>>,
}

/// A token that was just made.
#[derive(Debug, Serialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MadeToken {
    /// Names it when it is to be ended.
    pub id: Uuid,
    /// Keep it: it is not shown again.
    pub personal_access_token: String,
}

pub(crate) async fn make(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Sent(sent): Sent<NewToken>,
) -> Result<Answer<MadeToken>> {
    answer(async {
        let sent = sent?;
        let name = sent
            .metadata
            .as_ref()
            .and_then(|all| all.get("name")?.as_str());
        let wish = Wish {
            name: name.unwrap_or("personal access token"),
            family_id: None,
            expires_at: Some(sent.expires_at),
        };
        let made = api_token::make(&cx, &principal, wish, &caller).await?;
        Ok(MadeToken {
            id: made.id,
            personal_access_token: made.token,
        })
    })
    .await
}

pub(super) fn unauthenticated() -> Error {
    Error::new(401, "UNAUTHENTICATED", "this needs an access token")
}

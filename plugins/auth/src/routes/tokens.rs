//! `/auth/tokens` for a person's scripts, `/auth/admin/services` and `/auth/service-token` for services, and
//! `/auth/token/introspect`.

use nself_plugin_api::{jiff::Timestamp, prelude::*};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Done, Private, done};
use crate::{
    Auth,
    api_token::{self, Made, Shown, Wish},
    caller::Caller,
    introspection::{self, Introspection},
    session::Tokens,
    store::api_tokens,
    throttle::{self, Action},
};

pub(crate) async fn list(cx: Cx<Auth>, principal: Principal) -> Result<Private<Data<Vec<Shown>>>> {
    let now = cx.clock().now()?;
    let tokens = api_tokens::list(&cx.db(), Some(principal.user()?), now).await?;
    Ok(Private(Data(tokens)))
}

/// A token for scripts.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    /// What it is for.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// When it ends: within 366 days; after 90 without it.
    pub expires_at: Option<Timestamp>,
    /// The only family that it shall act in.
    pub family_id: Option<Uuid>,
}

pub(crate) async fn make(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Json(new): Json<NewToken>,
) -> Result<Private<Created<Made>>> {
    let wish = Wish {
        name: &new.name,
        family_id: new.family_id,
        expires_at: new.expires_at,
    };
    let made = api_token::make(&cx, &principal, wish, &caller).await?;
    Ok(Private(Created(made)))
}

pub(crate) async fn revoke(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<Private<Data<Done>>> {
    let user_id = principal.user()?;
    api_token::revoke(&cx, Some(user_id), id, &user_id.to_string()).await?;
    Ok(done("token_revoked"))
}

/// A token that is exchanged.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exchange {
    /// As it was shown when it was made.
    #[schema(max_length = 100)]
    pub token: String,
    /// The family to act in, for a token that is not bound to one; the last one without it.
    pub family_id: Option<Uuid>,
}

pub(crate) async fn exchange(
    cx: Cx<Auth>,
    caller: Caller,
    Json(exchange): Json<Exchange>,
) -> Result<Private<Data<Tokens>>> {
    throttle::address(&cx, Action::Code, &caller).await?;
    let tokens = api_token::exchange(&cx, &exchange.token, exchange.family_id, &caller).await?;
    Ok(Private(Data(tokens)))
}

/// A service.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewService {
    /// What it is called.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// What it may do, such as `auth.introspect`.
    pub scopes: Vec<String>,
    /// When its token ends; never without it.
    pub expires_at: Option<Timestamp>,
}

pub(crate) async fn services(cx: Cx<Auth>) -> Result<Private<Data<Vec<Shown>>>> {
    let now = cx.clock().now()?;
    let services = api_tokens::list(&cx.db(), None, now).await?;
    Ok(Private(Data(services)))
}

pub(crate) async fn make_service(
    cx: Cx<Auth>,
    operator: Principal,
    Json(new): Json<NewService>,
) -> Result<Private<Created<Made>>> {
    let wish = Wish {
        name: &new.name,
        family_id: None,
        expires_at: new.expires_at,
    };
    let made = api_token::make_service(&cx, &operator, wish, &new.scopes).await?;
    Ok(Private(Created(made)))
}

pub(crate) async fn revoke_service(
    cx: Cx<Auth>,
    operator: Principal,
    Path(id): Path<Uuid>,
) -> Result<Private<Data<Done>>> {
    api_token::revoke(&cx, None, id, &operator.subject).await?;
    Ok(done("token_revoked"))
}

/// A service's token.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceToken {
    /// As it was shown when the service was made.
    #[schema(max_length = 100)]
    pub token: String,
}

/// What a service gets for its token.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct ServiceAccess {
    /// For `Authorization: Bearer`.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// Seconds until it ends.
    pub expires_in: i64,
    /// What it opens, words parted by spaces.
    pub scope: String,
}

pub(crate) async fn exchange_service(
    cx: Cx<Auth>,
    caller: Caller,
    Json(ServiceToken { token }): Json<ServiceToken>,
) -> Result<Private<Data<ServiceAccess>>> {
    throttle::address(&cx, Action::Code, &caller).await?;
    let (access, scopes) = api_token::exchange_service(&cx, &token).await?;
    Ok(Private(Data(ServiceAccess {
        access_token: access.token,
        token_type: "Bearer",
        expires_in: access.expires_in,
        scope: scopes.join(" "),
    })))
}

/// A token that somebody wants to know about (RFC 7662, section 2.1): as a form, which is what the standard says.
#[derive(Deserialize)]
struct Question {
    token: String,
}

pub(crate) async fn introspect(
    cx: Cx<Auth>,
    Body(body): Body,
) -> Result<Private<Json<Introspection>>> {
    let Question { token } = serde_urlencoded::from_bytes(&body)
        .map_err(|error| Error::bad_request("BODY_INVALID", format!("body: {error}")))?;
    let answer = introspection::introspect(&cx, &token).await?;
    Ok(Private(Json(answer)))
}

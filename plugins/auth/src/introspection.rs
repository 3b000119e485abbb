//! Whether a token is good at this moment (RFC 7662): for programs that cannot verify one, or want to know of a sign-out at
//! once.

use nself_plugin_api::{jiff::Timestamp, prelude::*};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    Auth, access,
    api_token::{self, Kind},
    refresh::RefreshToken,
    store::{api_tokens, sessions},
};

/// Longest token that is looked at, as the host has it.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// What a token is; only `active: false` for one that is good for nothing, whatever the reason (section 2.2).
#[derive(Debug, Default, Serialize, Schema)]
pub(crate) struct Introspection {
    /// Whether it is good now.
    pub active: bool,
    /// `access_token`, `refresh_token`, `personal_token` or `service_token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_type: Option<&'static str>,
    /// The person, machine or service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<Uuid>,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<Uuid>,
    /// The service that it was given to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Uuid>,
    /// What a service may do, words parted by spaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// When it was made, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// When it ends, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
}

/// Looks a token up, of whatever kind it is.
pub(crate) async fn introspect(cx: &Cx<Auth>, token: &str) -> Result<Introspection> {
    let now = cx.clock().now()?;
    let found = if let Some(refresh) = RefreshToken::read(token, &cx.plugin().keys.macs) {
        of_refresh(cx, refresh, now).await?
    } else if token.starts_with(Kind::Personal.prefix()) {
        of_api_token(cx, Kind::Personal, token, now).await?
    } else if token.starts_with(Kind::Service.prefix()) {
        of_api_token(cx, Kind::Service, token, now).await?
    } else {
        of_access(cx, token, now).await?
    };
    Ok(found.unwrap_or_default())
}

/// What an access token is, if it is good.
pub(crate) async fn of_access(
    cx: &Cx<Auth>,
    token: &str,
    now: Timestamp,
) -> Result<Option<Introspection>> {
    if token.len() > TOKEN_BYTES_MAX {
        return Ok(None);
    }
    let Some(claims) = access::read(cx, token, now)? else {
        return Ok(None);
    };
    let id = |name: &str| claims[name].as_str()?.parse::<Uuid>().ok();
    let text = |name: &str| claims[name].as_str().map(str::to_owned);
    let (Some(sub), Some(sid)) = (id("sub"), id("sid")) else {
        return Ok(None);
    };
    let client_id = id("client_id");
    let is_alive = if client_id.is_some() {
        api_tokens::is_alive(&cx.db(), sid, now).await?
    } else {
        // An epoch behind the session's tells of a role that the bearer has no more.
        let epoch = claims["epoch"].as_i64();
        sessions::is_alive(&cx.db(), sid, epoch.unwrap_or_default(), now).await?
    };
    Ok(is_alive.then(|| Introspection {
        active: true,
        token_type: Some("access_token"),
        sub: Some(sub),
        sid: Some(sid),
        client_id,
        scope: text("scope"),
        iss: text("iss"),
        iat: claims["iat"].as_i64(),
        exp: claims["exp"].as_i64(),
    }))
}

async fn of_refresh(
    cx: &Cx<Auth>,
    token: RefreshToken,
    now: Timestamp,
) -> Result<Option<Introspection>> {
    let standing = sessions::standing(&cx.db(), token.session).await?;
    let standing = standing.filter(|standing| {
        !standing.is_revoked
            && standing.is_bearer_active
            && standing.ends_at > now
            && standing.generation == token.generation
    });
    Ok(standing.map(|standing| Introspection {
        active: true,
        token_type: Some("refresh_token"),
        sub: standing.user_id,
        sid: Some(token.session),
        exp: Some(standing.ends_at.as_second()),
        ..Introspection::default()
    }))
}

async fn of_api_token(
    cx: &Cx<Auth>,
    kind: Kind,
    text: &str,
    now: Timestamp,
) -> Result<Option<Introspection>> {
    let Some(token) = api_token::find(cx, kind, text, now).await? else {
        return Ok(None);
    };
    let is_service = kind == Kind::Service;
    if let Some(user_id) = token.user_id {
        let account = crate::store::accounts::find_by_id(&cx.db(), user_id).await?;
        if !account.is_some_and(|account| account.is_active) {
            return Ok(None);
        }
    }
    Ok(Some(Introspection {
        active: true,
        token_type: Some(if is_service {
            "service_token"
        } else {
            "personal_token"
        }),
        sub: token.user_id.or(Some(token.id)),
        client_id: is_service.then_some(token.id),
        scope: is_service.then(|| token.scopes.join(" ")),
        iat: Some(token.created_at.as_second()),
        exp: token.expires_at.map(Timestamp::as_second),
        ..Introspection::default()
    }))
}

//! `/oauth/revoke`: a client that is done says so (RFC 7009).

use nself_plugin_api::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Auth,
    caller::Caller,
    oauth::{Form, Outcome, Refusal, field},
    refresh::RefreshToken,
    session,
    store::{devices, sessions::End},
    throttle::{self, Action},
};

/// Longest token that is looked at, as the host has it.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// RFC 7009, section 2.1. The hint is not needed: a token says itself what it is.
#[derive(Deserialize)]
pub(crate) struct Revocation {
    token: Option<String>,
    client_id: Option<String>,
}

/// Nothing; some clients read JSON in any case.
#[derive(Serialize)]
pub(crate) struct Revoked {}

pub(crate) async fn revoke(
    cx: Cx<Auth>,
    caller: Caller,
    Form(form): Form<Revocation>,
) -> Result<Outcome<Revoked>> {
    throttle::address(&cx, Action::Code, &caller).await?;
    Ok(Outcome(match form {
        Ok(form) => end(&cx, &form).await.map(|()| Revoked {}),
        Err(refusal) => Err(refusal),
    }))
}

/// Ends the session of a refresh or an access token. One that is good for nothing already is answered the same (section
/// 2.2); a machine's is its client's alone.
async fn end(cx: &Cx<Auth>, form: &Revocation) -> Result<(), Refusal> {
    let token = field(form.token.as_deref(), TOKEN_BYTES_MAX)?
        .ok_or(Refusal::request("token is missing"))?;
    let Some(session_id) = session_of(cx, token)? else {
        return Ok(());
    };
    let client = devices::client_of(&cx.db(), session_id).await?;
    if client.is_some() && client.as_deref() != form.client_id.as_deref() {
        return Err(Refusal::grant());
    }
    let now = cx.clock().now()?;
    Ok(session::end(&cx.db(), &[session_id], End::of("signed_out", now)).await?)
}

fn session_of(cx: &Cx<Auth>, token: &str) -> Result<Option<Uuid>> {
    if let Some(refresh) = RefreshToken::read(token, &cx.plugin().keys.macs) {
        return Ok(Some(refresh.session));
    }
    match cx.identity().verify_token(token) {
        Ok(principal) => Ok(principal.session_id),
        Err(error) if error.status() == 401 => Ok(None),
        Err(error) => Err(error),
    }
}

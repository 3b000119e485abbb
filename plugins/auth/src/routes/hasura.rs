//! `/auth/hasura/webhook`: Hasura asks who calls, request by request, instead of trusting a token until it ends.
//!
//! The host has verified the token and knows which sessions have ended, so the answer needs no query: it is what the token
//! says. Hasura sends the caller's headers along (`HASURA_GRAPHQL_AUTH_HOOK_MODE=GET`, its default) and none of its own, so
//! the secret that shows that it is Hasura stands in the address of the hook, or in a header where something in between adds
//! one.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nself_plugin_api::{
    http::{HeaderMap, HeaderValue, StatusCode, header::CACHE_CONTROL},
    prelude::*,
    serde_json::{self, Map, Value},
};
use serde::Deserialize;

use crate::{Auth, mac::Purpose};

/// The secret's name.
pub(crate) const SECRET: &str = "hasura-webhook-secret";

const SECRET_HEADER: &str = "x-hasura-webhook-secret";
const CLAIMS: &str = "https://hasura.io/jwt/claims";
const ALLOWED_ROLES: &str = "x-hasura-allowed-roles";
const DEFAULT_ROLE: &str = "x-hasura-default-role";
const ROLE: &str = "x-hasura-role";

/// Who asks.
#[derive(Deserialize, Schema)]
pub(crate) struct Asking {
    /// The host's secret `hasura-webhook-secret`.
    #[schema(max_length = 500)]
    pub secret: Option<String>,
}

/// The session variables of the caller, or 401.
pub(crate) async fn webhook(
    cx: Cx<Auth>,
    principal: Option<Principal>,
    headers: HeaderMap,
    Query(asking): Query<Asking>,
) -> Result<Response> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let shown = asking.secret.as_deref().or_else(|| text(SECRET_HEADER));
    let is_hasura = shown.is_some_and(|shown| is_secret(&cx, shown));
    let token = text("authorization").and_then(|value| value.split_whitespace().nth(1));
    // A principal without a token of ours is an operator or a service: nobody whom Hasura has permissions for.
    let (Some(principal), Some(token), true) = (principal, token, is_hasura) else {
        return Err(nobody());
    };
    let variables = claims(token).and_then(|claims| variables(claims, text(ROLE)));
    let body = Value::Object(variables.ok_or_else(nobody)?).to_string();
    // How long Hasura may keep a socket open with it.
    let now = u64::try_from(cx.clock().now()?.as_second()).unwrap_or_default();
    let left = principal.expires_at.saturating_sub(now);
    let age = HeaderValue::try_from(format!("max-age={left}, private")).map_err(Error::internal)?;
    let answer = Response::new(StatusCode::OK, body).content_type("application/json");
    Ok(answer.header(CACHE_CONTROL, age))
}

/// Compared by MAC: how long that takes tells nothing about the secret.
fn is_secret(cx: &Cx<Auth>, shown: &str) -> bool {
    let Ok(secret) = cx.secrets().get(SECRET) else {
        return false;
    };
    let macs = &cx.plugin().keys.macs;
    let mac = macs.make(macs.newest(), Purpose::Webhook, &secret);
    !secret.is_empty()
        && mac
            .is_some_and(|mac| macs.check(macs.newest(), Purpose::Webhook, shown.as_bytes(), &mac))
}

/// What a verified token says to Hasura.
fn claims(token: &str) -> Option<Map<String, Value>> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let mut payload: Map<String, Value> = serde_json::from_slice(&payload).ok()?;
    match payload.remove(CLAIMS)? {
        Value::Object(claims) => Some(claims),
        _ => None,
    }
}

/// All but the list of roles, and the one role that is used: the caller's choice among those, else the default.
fn variables(mut claims: Map<String, Value>, asked: Option<&str>) -> Option<Map<String, Value>> {
    let allowed = claims.remove(ALLOWED_ROLES)?;
    let default = claims.remove(DEFAULT_ROLE)?;
    let role = asked.or_else(|| default.as_str())?;
    let is_allowed = allowed.as_array()?.iter().any(|one| one == role);
    claims.insert(ROLE.to_owned(), Value::from(role));
    is_allowed.then_some(claims)
}

fn nobody() -> Error {
    Error::new(
        401,
        "UNAUTHENTICATED",
        "this needs an access token, asked for by Hasura",
    )
}

#[cfg(test)]
mod tests {
    use nself_plugin_api::serde_json::json;

    use super::*;

    #[track_caller]
    fn check(asked: Option<&str>, expected: Option<&str>) {
        let claims = json!({
            "x-hasura-allowed-roles": ["OWNER", "user"], "x-hasura-default-role": "OWNER", "x-hasura-user-id": "1",
        });
        let claims = claims.as_object().expect("an object").clone();
        let variables = variables(claims, asked);
        let role = variables
            .as_ref()
            .map(|variables| variables[ROLE].as_str().expect("a role"));
        assert_eq!(role, expected, "{asked:?}");
        if let Some(variables) = &variables {
            assert!(
                variables.values().all(Value::is_string),
                "Hasura takes texts only"
            );
            assert_eq!(variables.len(), 2);
        }
    }

    #[test]
    fn a_role_is_used_only_if_it_is_allowed() {
        check(None, Some("OWNER"));
        check(Some("user"), Some("user"));
        check(Some("admin"), None);
        check(Some(""), None);
    }
}

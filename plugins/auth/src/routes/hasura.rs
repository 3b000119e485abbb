//! `/auth/hasura/webhook`: Hasura asks who calls, request by request, instead of trusting a token until it ends.
//!
//! The host verifies the token and knows which sessions have ended, so the answer needs no query: it is what the token
//! says. By GET (`HASURA_GRAPHQL_AUTH_HOOK_MODE=GET`, its default) Hasura sends the caller's headers along as its own; by
//! POST they stand in a body, which has room for longer ones. Either way Hasura adds none of its own, so the secret that
//! shows that it is Hasura stands in the address of the hook, or in a header where something in between adds one.

use std::collections::BTreeMap;

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
    if !is_hasura(&cx, &asking, text(SECRET_HEADER)) {
        return Err(nobody());
    }
    // A principal without a token of ours is an operator or a service: nobody whom Hasura has permissions for.
    let (Some(principal), Some(token)) = (principal, bearer(text("authorization"))) else {
        return Err(nobody());
    };
    answer(&cx, &principal, token, text(ROLE))
}

/// The caller's request to Hasura, as its hook by POST describes it. What was asked in it is not read.
#[derive(Deserialize, Schema)]
pub(crate) struct Described {
    /// The caller's headers, by whatever spelling of their names.
    pub headers: BTreeMap<String, String>,
}

/// As [`webhook`]. The host did not see this token with the request, so it is shown to it here.
pub(crate) async fn webhook_by_post(
    cx: Cx<Auth>,
    headers: HeaderMap,
    Query(asking): Query<Asking>,
    Json(described): Json<Described>,
) -> Result<Response> {
    let own = headers.get(SECRET_HEADER);
    let own = own.and_then(|value| value.to_str().ok());
    if !is_hasura(&cx, &asking, own.or(described.text(SECRET_HEADER)?)) {
        return Err(nobody());
    }
    let token = bearer(described.text("authorization")?).ok_or_else(nobody)?;
    let principal = cx.identity().verify_token(token);
    let principal = principal.map_err(|error| match error.status() {
        401 => nobody(),
        _ => error,
    })?;
    answer(&cx, &principal, token, described.text(ROLE)?)
}

impl Described {
    /// The header of that lower-case name.
    ///
    /// # Errors
    ///
    /// `UNAUTHENTICATED` for one that stands there twice: whichever we took, somebody before us may have taken the other.
    fn text(&self, name: &str) -> Result<Option<&str>> {
        let mut found = self
            .headers
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str());
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(nobody()),
            (found, None) => Ok(found),
        }
    }
}

/// Whether who asks knows the secret.
fn is_hasura(cx: &Cx<Auth>, asking: &Asking, header: Option<&str>) -> bool {
    let shown = asking.secret.as_deref().or(header);
    shown.is_some_and(|shown| is_secret(cx, shown))
}

/// The token in an `Authorization` header.
fn bearer(header: Option<&str>) -> Option<&str> {
    let (scheme, token) = header?.trim().split_once(char::is_whitespace)?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_start())
}

/// What a verified token says, as long as it is good.
fn answer(
    cx: &Cx<Auth>,
    principal: &Principal,
    token: &str,
    role: Option<&str>,
) -> Result<Response> {
    let variables = claims(token).and_then(|claims| variables(claims, role));
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
    fn a_header_is_found_by_any_spelling_and_not_when_it_stands_there_twice() {
        let described = |names: &[&str]| Described {
            headers: names
                .iter()
                .map(|name| ((*name).to_owned(), (*name).to_owned()))
                .collect(),
        };
        let told = |names: &[&str]| {
            described(names)
                .text("authorization")
                .ok()
                .flatten()
                .map(str::to_owned)
        };
        assert_eq!(
            told(&["AUTHORIZATION", "x"]).as_deref(),
            Some("AUTHORIZATION")
        );
        assert_eq!(told(&["x"]), None);
        assert!(
            described(&["Authorization", "authorization"])
                .text("authorization")
                .is_err()
        );
    }

    #[test]
    fn a_bearer_is_one_by_its_scheme() {
        assert_eq!(bearer(Some("Bearer a.b.c")), Some("a.b.c"));
        assert_eq!(bearer(Some("bearer  a.b.c")), Some("a.b.c"));
        for other in [None, Some(""), Some("a.b.c"), Some("Basic a.b.c")] {
            assert_eq!(bearer(other), None, "{other:?}");
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

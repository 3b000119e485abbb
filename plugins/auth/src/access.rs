//! Access tokens: JWTs (RFC 9068) that the host and Hasura both read.
//!
//! A token carries one active family and the role in it. A union of roles over families would let the OWNER of one act as
//! OWNER in another, because Hasura lets a caller combine any allowed role with all variables.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nself_plugin_api::{
    jiff::{SignedDuration, Timestamp},
    prelude::*,
    serde_json::{self, Map, Value, json},
};
use uuid::Uuid;

use crate::{Auth, api_token::ApiToken, hooks::Extra, session::Session};

/// What an access token is for, beside its issuer.
const HASURA: &str = "hasura";

/// The claim that Hasura and the host read.
const HASURA_CLAIMS: &str = "https://hasura.io/jwt/claims";

/// Roles that run a family: their tokens live shorter, because what they can do is worth more.
const PRIVILEGED: [&str; 2] = ["OWNER", "ADMIN"];

/// A signed token and how many seconds it is good for.
pub(crate) struct AccessToken {
    pub(crate) token: String,
    pub(crate) expires_in: i64,
}

/// Signs a token for a session, with what another plugin adds to it.
pub(crate) fn issue(
    cx: &Cx<Auth>,
    session: &Session,
    extra: &Extra,
    now: Timestamp,
) -> Result<AccessToken> {
    let id = new_id(cx)?;
    let expires_at = expiry(cx, session, now, id);
    let mut claims = claims(&cx.plugin().config.public_url, session, now, expires_at, id);
    add(&mut claims, extra);
    Ok(AccessToken {
        token: sign(cx, &claims)?,
        expires_in: (expires_at - now).get_seconds(),
    })
}

/// Signs a token for a service. It says what the service may do and nothing of people, families or roles, so no rule that
/// names one of them lets it in. It names the service as its session: ending the service ends its tokens everywhere.
pub(crate) fn issue_to_service(
    cx: &Cx<Auth>,
    service: &ApiToken,
    now: Timestamp,
) -> Result<AccessToken> {
    let config = &cx.plugin().config;
    let id = new_id(cx)?;
    let expires_at = now + shortened(config.access_minutes, id);
    let expires_at = service
        .expires_at
        .map_or(expires_at, |at| at.min(expires_at));
    let claims = json!({
        "iss": config.public_url,
        "aud": [config.public_url],
        "sub": service.id,
        "sid": service.id,
        "jti": id,
        "iat": now.as_second(),
        "exp": expires_at.as_second(),
        "client_id": service.id,
        "scope": service.scopes.join(" "),
    });
    Ok(AccessToken {
        token: sign(cx, &claims)?,
        expires_in: (expires_at - now).get_seconds(),
    })
}

fn new_id(cx: &Cx<Auth>) -> Result<Uuid> {
    Uuid::from_slice(&cx.crypto().random(16)?).map_err(Error::internal)
}

fn sign(cx: &Cx<Auth>, claims: &Value) -> Result<String> {
    let ring = cx.plugin().keys.ring();
    let key = ring.active();
    let header = json!({"alg": key.algorithm, "typ": "at+jwt", "kid": key.kid});
    let mut token = String::with_capacity(1_024);
    URL_SAFE_NO_PAD.encode_string(header.to_string(), &mut token);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut token);
    let signature = cx.crypto().sign(&key.sealed, token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(&signature, &mut token);
    Ok(token)
}

/// The claims of a token that this plugin signed and that has not ended; `None` for anything else. What became of its
/// session is not looked at.
pub(crate) fn read(cx: &Cx<Auth>, token: &str, now: Timestamp) -> Result<Option<Value>> {
    let Some((signed, signature)) = token.rsplit_once('.') else {
        return Ok(None);
    };
    let Some((header, claims)) = signed.split_once('.') else {
        return Ok(None);
    };
    let (Some(header), Some(claims), Ok(signature)) = (
        part(header),
        part(claims),
        URL_SAFE_NO_PAD.decode(signature),
    ) else {
        return Ok(None);
    };
    // The key decides on the algorithm; a header can only agree with it.
    let ring = cx.plugin().keys.ring();
    let Some(key) = ring.all().iter().find(|key| header["kid"] == key.kid) else {
        return Ok(None);
    };
    let issuer = cx.plugin().config.public_url.as_str();
    let time = |name: &str| claims[name].as_i64();
    let is_for_us = claims["aud"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one == issuer));
    let is_good = header["typ"] == "at+jwt"
        && header["alg"] == key.algorithm
        && header.get("crit").is_none()
        && claims["iss"] == issuer
        && is_for_us
        && time("exp").is_some_and(|exp| exp > now.as_second())
        && time("nbf").is_none_or(|nbf| nbf <= now.as_second())
        && cx
            .crypto()
            .verify(&key.jwk, signed.as_bytes(), &signature)?;
    Ok(is_good.then_some(claims))
}

/// A part of a token: base64url of JSON.
fn part(text: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// When a token ends: after its lifetime, and not later than its session or the proof that it tells of.
fn expiry(cx: &Cx<Auth>, session: &Session, now: Timestamp, id: Uuid) -> Timestamp {
    let config = &cx.plugin().config;
    let is_privileged = session
        .role
        .as_deref()
        .is_some_and(|role| PRIVILEGED.contains(&role));
    let minutes = if is_privileged {
        config.access_minutes_privileged
    } else {
        config.access_minutes
    };
    let mut at = now + shortened(minutes, id);
    if let Some(until) = session.elevation(now) {
        at = at.min(until);
    }
    at.min(session.absolute_expiry)
}

/// Minutes, and up to a twentieth less, by chance: tokens that were made together shall not be renewed together.
fn shortened(minutes: u32, id: Uuid) -> SignedDuration {
    let lifetime = i64::from(minutes) * 60_000;
    let jitter = lifetime / 20 * i64::from(id.as_bytes()[0]) / 256;
    SignedDuration::from_millis(lifetime - jitter)
}

fn claims(
    issuer: &str,
    session: &Session,
    now: Timestamp,
    expires_at: Timestamp,
    id: Uuid,
) -> Value {
    let mut claims = json!({
        "iss": issuer,
        "aud": [issuer, HASURA],
        "sub": session.bearer(),
        "sid": session.id,
        "jti": id,
        "iat": now.as_second(),
        "exp": expires_at.as_second(),
        "auth_time": session.auth_time.as_second(),
        "acr": session.aal_name(),
        "amr": session.amr,
        "epoch": session.epoch,
        HASURA_CLAIMS: hasura(session, now),
    });
    if session
        .app_roles
        .as_object()
        .is_some_and(|roles| !roles.is_empty())
    {
        claims["app_roles"] = session.app_roles.clone();
    }
    claims
}

/// Adds what is not there: a name that is taken keeps its value.
fn add(claims: &mut Value, extra: &Extra) {
    let fill = |place: Option<&mut Value>, added: &Map<String, Value>| {
        let Some(place) = place.and_then(Value::as_object_mut) else {
            return;
        };
        for (name, value) in added {
            place.entry(name).or_insert_with(|| value.clone());
        }
    };
    fill(claims.get_mut(HASURA_CLAIMS), &extra.variables);
    fill(Some(claims), &extra.claims);
}

/// The session variables that Hasura and the host's rules read: all strings, but for the list of allowed roles.
fn hasura(session: &Session, now: Timestamp) -> Value {
    let mut variables = Map::new();
    let mut set = |name: &str, value: Value| {
        variables.insert(format!("x-hasura-{name}"), value);
    };
    set("session-id", json!(session.id));
    set("aal", json!(session.aal_name()));
    if let Some(family_id) = session.active_family() {
        set("family-id", json!(family_id));
    }
    if let Some(device_id) = session.device_id {
        set("default-role", json!("DEVICE"));
        set("allowed-roles", json!(["DEVICE"]));
        set("device-id", json!(device_id));
        return variables.into();
    }
    if let Some(role) = &session.role {
        set("default-role", json!(role));
        set("allowed-roles", json!([role, "user"]));
    } else {
        set("default-role", json!("user"));
        set("allowed-roles", json!(["user"]));
    }
    set("user-id", json!(session.user_id));
    if let Some(member_id) = session.member_id {
        set("member-id", json!(member_id));
    }
    let ids: Vec<String> = session.family_ids.iter().map(Uuid::to_string).collect();
    set("family-ids", json!(format!("{{{}}}", ids.join(","))));
    if session.elevation(now).is_some() {
        set("auth-elevated", json!(session.user_id));
    }
    variables.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session {
            id: Uuid::from_u128(1),
            generation: 1,
            epoch: 2,
            user_id: Some(Uuid::from_u128(2)),
            device_id: None,
            family_id: Some(Uuid::from_u128(3)),
            member_id: Some(Uuid::from_u128(4)),
            role: Some("CHILD_MEMBER".into()),
            family_ids: vec![Uuid::from_u128(3), Uuid::from_u128(5)],
            app_roles: json!({}),
            aal: 1,
            amr: vec!["pwd".into()],
            auth_time: Timestamp::UNIX_EPOCH,
            elevated_until: None,
            absolute_expiry: Timestamp::MAX,
        }
    }

    #[test]
    fn a_member_has_the_role_in_the_active_family_and_no_other() {
        let variables = hasura(&session(), Timestamp::UNIX_EPOCH);
        assert_eq!(variables["x-hasura-default-role"], "CHILD_MEMBER");
        assert_eq!(
            variables["x-hasura-allowed-roles"],
            json!(["CHILD_MEMBER", "user"])
        );
        let ids = format!("{{{},{}}}", Uuid::from_u128(3), Uuid::from_u128(5));
        assert_eq!(variables["x-hasura-family-ids"], ids.as_str());
        assert_eq!(variables.get("x-hasura-auth-elevated"), None);
        let all_text = |(name, value): (&String, &Value)| {
            value.is_string() || name == "x-hasura-allowed-roles"
        };
        assert!(
            variables
                .as_object()
                .expect("an object")
                .iter()
                .all(all_text)
        );
    }

    #[test]
    fn a_person_without_a_family_is_a_user() {
        let nobody = Session {
            family_id: Some(Uuid::from_u128(3)),
            member_id: None,
            role: None,
            family_ids: Vec::new(),
            ..session()
        };
        let variables = hasura(&nobody, Timestamp::UNIX_EPOCH);
        assert_eq!(variables["x-hasura-allowed-roles"], json!(["user"]));
        assert_eq!(variables["x-hasura-family-ids"], "{}");
        assert_eq!(
            variables.get("x-hasura-family-id"),
            None,
            "no member any more"
        );
    }

    #[test]
    fn a_device_is_no_person() {
        let device = Session {
            user_id: None,
            device_id: Some(Uuid::from_u128(9)),
            member_id: None,
            role: None,
            ..session()
        };
        let variables = hasura(&device, Timestamp::UNIX_EPOCH);
        assert_eq!(variables["x-hasura-allowed-roles"], json!(["DEVICE"]));
        assert_eq!(variables.get("x-hasura-user-id"), None);
        assert_eq!(variables.get("x-hasura-family-ids"), None);
        assert!(variables["x-hasura-family-id"].is_string());
    }

    #[test]
    fn a_lifetime_is_cut_by_less_than_a_twentieth() {
        let seconds = |first: u8| {
            let mut bytes = [0; 16];
            bytes[0] = first;
            shortened(15, Uuid::from_bytes(bytes)).as_secs_f64()
        };
        assert!((seconds(0) - 900.0).abs() < f64::EPSILON);
        assert!(seconds(255) > 855.0 && seconds(255) < 856.0);
        assert!(seconds(100) > seconds(101));
    }

    #[test]
    fn an_elevation_is_told_while_it_lasts() {
        let until = Timestamp::UNIX_EPOCH + SignedDuration::from_mins(10);
        let elevated = Session {
            elevated_until: Some(until),
            ..session()
        };
        let told = |at| {
            hasura(&elevated, at)
                .get("x-hasura-auth-elevated")
                .is_some()
        };
        assert!(told(Timestamp::UNIX_EPOCH));
        assert!(!told(until));
    }
}

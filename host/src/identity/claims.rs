//! What a token says, read into a principal.
//!
//! The claims are the ones that Hasura reads (`https://hasura.io/jwt/claims`, keys without regard to case), so
//! one token opens both. Role and family come from there and from nowhere else: no request header can choose.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::{Kind, Principal};
use crate::plugin::manifest::Role;

/// The last second of the year 9999: later dates are cut to it, so that adding to a date cannot overflow.
pub(crate) const EXP_MAX: u64 = 253_402_300_799;

/// Most families that a token may list.
const FAMILIES_MAX: usize = 64;

/// The claims that the host understands; the rest is the plugins' matter.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    pub(super) sub: String,
    /// Seconds since 1970.
    pub(super) exp: u64,
    /// Seconds since 1970.
    #[serde(default)]
    pub(super) nbf: Option<u64>,
    #[serde(default)]
    sid: Option<Uuid>,
    /// How often what the session may do had changed when this was signed.
    #[serde(default)]
    epoch: u32,
    #[serde(default)]
    aal: Option<String>,
    #[serde(default)]
    acr: Option<String>,
    /// Words parted by spaces, as in RFC 9068.
    #[serde(default)]
    scope: Option<String>,
    #[serde(default, rename = "https://hasura.io/jwt/claims")]
    hasura: HashMap<String, Value>,
}

impl Claims {
    /// Turns verified claims into a principal; `Err` names the claim that makes no sense.
    pub(super) fn into_principal(self) -> Result<Principal, &'static str> {
        let hasura = Hasura::new(self.hasura)?;
        let device_id = hasura.id("x-hasura-device-id")?;
        let user_id = hasura.id("x-hasura-user-id")?;
        let role = hasura.text("x-hasura-default-role").and_then(role);
        let kind = match (device_id, user_id) {
            (Some(_), Some(_)) => return Err("x-hasura-device-id"),
            (Some(_), None) => Kind::Device,
            (None, Some(_)) => Kind::User,
            // A token without a person or a machine in it is a program's; it reaches what its scopes name.
            (None, None) => Kind::Service,
        };
        if kind != Kind::Device && role == Some(Role::Device) {
            return Err("x-hasura-default-role");
        }
        let aal = self
            .aal
            .as_deref()
            .or(hasura.text("x-hasura-aal"))
            .or(self.acr.as_deref());
        let elevated = user_id.is_some() && hasura.id("x-hasura-auth-elevated")? == user_id;
        let scopes = self
            .scope
            .as_deref()
            .unwrap_or_default()
            .split_ascii_whitespace();
        Ok(Principal {
            kind,
            subject: self.sub.into(),
            user_id,
            session_id: match self.sid {
                Some(sid) => Some(sid),
                None => hasura.id("x-hasura-session-id")?,
            },
            epoch: self.epoch,
            member_id: hasura.id("x-hasura-member-id")?,
            family_id: hasura.id("x-hasura-family-id")?,
            device_id,
            role,
            family_ids: hasura.ids("x-hasura-family-ids")?,
            // `*` is for API keys, which the operator writes; no issuer can grant everything.
            scopes: scopes
                .filter(|scope| *scope != "*")
                .map(Arc::from)
                .collect(),
            aal: if aal == Some("aal2") { 2 } else { 1 },
            elevated,
            expires_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(self.exp.min(EXP_MAX))),
        })
    }
}

/// Hasura's session variables, keys in lower case.
struct Hasura(HashMap<String, String>);

impl Hasura {
    fn new(claims: HashMap<String, Value>) -> Result<Self, &'static str> {
        let mut variables = HashMap::with_capacity(claims.len());
        for (mut key, value) in claims {
            key.make_ascii_lowercase();
            // The list of allowed roles is the only array that Hasura takes; the host uses the default role alone.
            let Value::String(text) = value else { continue };
            if variables.insert(key, text).is_some() {
                // Two spellings of one key would let two readers see two different tokens.
                return Err("https://hasura.io/jwt/claims");
            }
        }
        Ok(Self(variables))
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn id(&self, key: &'static str) -> Result<Option<Uuid>, &'static str> {
        self.text(key)
            .map(|text| Uuid::parse_str(text).map_err(|_| key))
            .transpose()
    }

    /// A Postgres array literal, elements quoted or not: `{"a","b"}` or `{a,b}`.
    fn ids(&self, key: &'static str) -> Result<Vec<Uuid>, &'static str> {
        let Some(text) = self.text(key) else {
            return Ok(Vec::new());
        };
        let inner = text
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
            .ok_or(key)?;
        if inner.is_empty() {
            return Ok(Vec::new());
        }
        let ids = inner
            .split(',')
            .map(|id| Uuid::parse_str(id.trim().trim_matches('"')).map_err(|_| key));
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        if ids.len() > FAMILIES_MAX {
            Err(key)
        } else {
            Ok(ids)
        }
    }
}

/// The family role that a name stands for; the cross-family role `user` and foreign names are none.
fn role(name: &str) -> Option<Role> {
    const NAMES: [(&str, Role); 6] = [
        ("OWNER", Role::Owner),
        ("ADMIN", Role::Admin),
        ("ADULT_MEMBER", Role::AdultMember),
        ("YOUTH_MEMBER", Role::YouthMember),
        ("CHILD_MEMBER", Role::ChildMember),
        ("DEVICE", Role::Device),
    ];
    NAMES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, role)| *role)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const USER: &str = "11111111-1111-7111-8111-111111111111";
    const FAMILY: &str = "22222222-2222-7222-8222-222222222222";

    fn read(hasura: &Value) -> Result<Principal, &'static str> {
        let claims = json!({"sub": USER, "exp": 2_000_000_000, "scope": "a b *", "acr": "aal2",
            "https://hasura.io/jwt/claims": hasura});
        serde_json::from_value::<Claims>(claims)
            .expect("the claims have the right shape")
            .into_principal()
    }

    #[test]
    fn a_member_has_one_family_and_the_role_in_it() {
        let principal = read(
            &json!({"X-Hasura-User-Id": USER, "x-hasura-family-id": FAMILY,
            "x-hasura-default-role": "adult_member", "x-hasura-allowed-roles": ["OWNER", "user"],
            "x-hasura-family-ids": format!("{{\"{FAMILY}\"}}"), "x-hasura-auth-elevated": USER}),
        )
        .expect("a member's token");
        assert_eq!(principal.kind, Kind::User);
        assert_eq!(
            principal.role,
            Some(Role::AdultMember),
            "never the allowed role that is not the default"
        );
        assert_eq!(principal.family_ids.len(), 1);
        assert!(principal.elevated && principal.aal == 2);
        assert!(
            principal.has_scope("b") && !principal.has_scope("c"),
            "a token cannot carry the scope for everything"
        );
    }

    #[test]
    fn the_cross_family_role_is_no_family_role() {
        let principal = read(&json!({"x-hasura-user-id": USER, "x-hasura-default-role": "user"}))
            .expect("a token");
        assert_eq!((principal.role, principal.family_id), (None, None));
    }

    #[track_caller]
    fn check_refused(hasura: &Value, claim: &str) {
        assert_eq!(read(hasura).expect_err("contradicts itself"), claim);
    }

    #[test]
    fn tokens_that_contradict_themselves_are_refused() {
        check_refused(
            &json!({"x-hasura-user-id": USER, "x-hasura-device-id": USER}),
            "x-hasura-device-id",
        );
        check_refused(
            &json!({"x-hasura-user-id": USER, "x-hasura-default-role": "DEVICE"}),
            "x-hasura-default-role",
        );
        check_refused(&json!({"x-hasura-user-id": "1 OR 1=1"}), "x-hasura-user-id");
        check_refused(
            &json!({"x-hasura-family-ids": "{1}"}),
            "x-hasura-family-ids",
        );
        let twice = json!({"x-hasura-user-id": USER, "X-HASURA-USER-ID": FAMILY});
        check_refused(&twice, "https://hasura.io/jwt/claims");
    }
}

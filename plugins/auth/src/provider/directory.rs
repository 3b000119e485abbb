//! What an OpenID provider publishes about itself: its addresses and its keys, kept as long as it allows, within bounds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nself_plugin_api::{
    jiff::{SignedDuration, Timestamp},
    prelude::*,
    serde_json::Value,
};
use serde::Deserialize;

use super::{Provider, failed, fetch, fetch::Fetched, presets::is_secure};
use crate::Auth;

/// However short a provider wants it: not each sign-in asks again.
const KEPT_MIN: SignedDuration = SignedDuration::from_mins(5);
/// However long a provider wants it: a withdrawn key does not count for longer.
const KEPT_MAX: SignedDuration = SignedDuration::from_hours(24);
/// Where it does not say.
const KEPT: SignedDuration = SignedDuration::from_hours(1);
/// Pause between two looks for a key that is not there: tokens with invented names of keys cost no more than that.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// OpenID Connect Discovery 1.0, section 3: what is used of it.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    issuer: String,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    pub(super) userinfo_endpoint: Option<String>,
    jwks_uri: String,
    pub(super) token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// RFC 9207.
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

/// What is known of one provider.
#[derive(Debug, Default)]
pub(crate) struct Directory(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    metadata: Option<Known<Metadata>>,
    keys: Option<Known<Vec<Value>>>,
    keys_asked_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Known<T> {
    value: Arc<T>,
    until: Timestamp,
}

impl<T> Known<T> {
    fn of(fetched: Fetched<T>, now: Timestamp) -> Self {
        let age = fetched.max_age.unwrap_or(KEPT).clamp(KEPT_MIN, KEPT_MAX);
        Self {
            value: Arc::new(fetched.value),
            until: now + age,
        }
    }

    fn at(known: Option<&Self>, now: Timestamp) -> Option<Arc<T>> {
        known
            .filter(|known| known.until > now)
            .map(|known| Arc::clone(&known.value))
    }
}

impl Directory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The provider's description.
    pub(super) async fn metadata(
        &self,
        cx: &Cx<Auth>,
        provider: &Provider,
        issuer: &str,
    ) -> Result<Arc<Metadata>> {
        let now = cx.clock().now()?;
        if let Some(metadata) = Known::at(self.state().metadata.as_ref(), now) {
            return Ok(metadata);
        }
        let root = issuer.trim_end_matches('/');
        let url = format!("{root}/.well-known/openid-configuration");
        let fetched: Fetched<Metadata> = fetch::get(cx, provider, &url, None).await?;
        check(&fetched.value, issuer).map_err(|reason| failed(provider, reason))?;
        let known = Known::of(fetched, now);
        let metadata = Arc::clone(&known.value);
        self.state().metadata = Some(known);
        Ok(metadata)
    }

    /// The key that `pick` finds in the provider's set. A set without it is read again: keys turn.
    pub(super) async fn key(
        &self,
        cx: &Cx<Auth>,
        provider: &Provider,
        issuer: &str,
        pick: impl Fn(&[Value]) -> Option<Value>,
    ) -> Result<Option<Value>> {
        let now = cx.clock().now()?;
        let is_worth_asking = {
            let mut state = self.state();
            let known = Known::at(state.keys.as_ref(), now);
            if let Some(key) = known.as_ref().and_then(|keys| pick(keys)) {
                return Ok(Some(key));
            }
            let is_worth_asking = known.is_none()
                || state
                    .keys_asked_at
                    .is_none_or(|asked_at| asked_at + LOOK_AGAIN <= now);
            if is_worth_asking {
                state.keys_asked_at = Some(now);
            }
            is_worth_asking
        };
        if !is_worth_asking {
            return Ok(None);
        }
        let metadata = self.metadata(cx, provider, issuer).await?;
        let fetched: Fetched<KeySet> = fetch::get(cx, provider, &metadata.jwks_uri, None).await?;
        let fetched = Fetched {
            value: fetched.value.keys,
            max_age: fetched.max_age,
        };
        let known = Known::of(fetched, now);
        let key = pick(&known.value);
        self.state().keys = Some(known);
        Ok(key)
    }
}

/// A description is good when it is the configured issuer's, and what it names is as safe as the issuer itself.
pub(super) fn check(metadata: &Metadata, issuer: &str) -> Result<(), String> {
    if metadata.issuer != issuer {
        return Err("its discovery document names another issuer".to_owned());
    }
    let needed = [
        &metadata.authorization_endpoint,
        &metadata.token_endpoint,
        &metadata.jwks_uri,
    ];
    let is_local = issuer.starts_with("http://");
    for address in needed.into_iter().chain(&metadata.userinfo_endpoint) {
        if !is_secure(address) || !(is_local || address.starts_with("https://")) {
            return Err("its discovery document names an address that is not https".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(issuer: &str, token_endpoint: &str) -> Metadata {
        Metadata {
            issuer: issuer.to_owned(),
            authorization_endpoint: "https://example.org/auth".to_owned(),
            token_endpoint: token_endpoint.to_owned(),
            userinfo_endpoint: None,
            jwks_uri: "https://example.org/jwks".to_owned(),
            token_endpoint_auth_methods_supported: None,
            authorization_response_iss_parameter_supported: false,
        }
    }

    #[test]
    fn a_description_is_taken_from_its_own_issuer_alone() {
        let issuer = "https://example.org";
        assert!(check(&metadata(issuer, "https://example.org/token"), issuer).is_ok());
        let other = metadata("https://example.org/", "https://example.org/token");
        assert!(check(&other, issuer).is_err());
        for inside in [
            "http://127.0.0.1/token",
            "http://localhost:80/",
            "http://example.org/token",
        ] {
            assert!(
                check(&metadata(issuer, inside), issuer).is_err(),
                "{inside}"
            );
        }
    }

    #[test]
    fn what_is_known_is_kept_within_bounds() {
        let now = Timestamp::UNIX_EPOCH;
        let kept = |seconds: Option<i64>| {
            let max_age = seconds.map(SignedDuration::from_secs);
            let known = Known::of(Fetched { value: (), max_age }, now);
            known.until.as_second()
        };
        assert_eq!(kept(None), 3_600);
        assert_eq!(kept(Some(0)), 300);
        assert_eq!(kept(Some(-1)), 300);
        assert_eq!(kept(Some(600)), 600);
        assert_eq!(kept(Some(i64::MAX)), 86_400);
    }
}

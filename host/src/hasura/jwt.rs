//! `HASURA_GRAPHQL_JWT_SECRET`, from what the issuer of tokens publishes.

use http::{HeaderMap, header::CACHE_CONTROL};
use serde_json::{Value, json};

use super::remote::{self, RemoteError};

/// What tokens for Hasura are for.
const AUDIENCE: &str = "hasura";

/// Seconds by which the clocks of two machines may differ.
const SKEW_SECONDS: u32 = 5;

/// Why no secret can be derived.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    /// The issuer does not answer.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// What it publishes is not enough.
    #[error("{place} {problem}")]
    Published {
        /// The address.
        place: String,
        /// What is missing.
        problem: String,
    },
}

/// Asks the issuer at `base` and makes Hasura's setting of it. `jwk_url` is where Hasura reaches the keys, when that is elsewhere.
///
/// # Errors
///
/// When the issuer publishes nothing that Hasura could verify tokens with, now and after the next rotation.
pub async fn secret(base: &str, jwk_url: Option<&str>) -> Result<Value, JwtError> {
    let place = format!(
        "{}/.well-known/openid-configuration",
        base.trim_end_matches('/')
    );
    let (_, published) = remote::get(&place).await?;
    let text = |key: &str| {
        let found = published[key].as_str().map(str::to_owned);
        found.ok_or_else(|| JwtError::Published {
            place: place.clone(),
            problem: format!("has no {key}"),
        })
    };
    let (issuer, keys) = (text("issuer")?, text("jwks_uri")?);
    // The address that was published may be one for the outside.
    let own = format!("{}/.well-known/jwks.json", base.trim_end_matches('/'));
    let (headers, set) = remote::get(&own).await?;
    usable(&headers, &set).map_err(|problem| JwtError::Published {
        place: own,
        problem,
    })?;
    Ok(json!({
        "jwk_url": jwk_url.unwrap_or(&keys),
        "issuer": issuer,
        // Hasura lets a token without an issuer pass, but none without the audience.
        "audience": AUDIENCE,
        "claims_namespace": "https://hasura.io/jwt/claims",
        "claims_format": "json",
        "allowed_skew": SKEW_SECONDS,
    }))
}

/// Hasura takes only keys that say what they are, and reads the set again only when the answer says for how long it holds.
fn usable(headers: &HeaderMap, set: &Value) -> Result<(), String> {
    let keys = set["keys"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if keys.is_empty() {
        return Err("has no keys".to_owned());
    }
    for key in keys {
        for member in ["kid", "alg", "use"] {
            if !key[member].is_string() {
                return Err(format!("has a key without {member}"));
            }
        }
    }
    let control = headers
        .get(CACHE_CONTROL)
        .and_then(|value| value.to_str().ok());
    let seconds = control.into_iter().flat_map(|control| control.split(','));
    let mut seconds = seconds.filter_map(|part| part.trim().strip_prefix("max-age="));
    let age: u32 = seconds.next().and_then(|age| age.parse().ok()).unwrap_or(0);
    if age == 0 {
        return Err("does not say how long it holds (cache-control: max-age): Hasura would not see new keys".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(control: &'static str, keys: &Value, problem: Option<&str>) {
        let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(control))]);
        let found = usable(&headers, &json!({"keys": keys})).err();
        assert_eq!(found.is_some(), problem.is_some(), "{found:?}");
        if let (Some(found), Some(problem)) = (found, problem) {
            assert!(found.contains(problem), "{found}");
        }
    }

    #[test]
    fn keys_that_hasura_would_not_take_are_told() {
        let key = json!([{"kid": "1", "alg": "ES256", "use": "sig"}]);
        check("public, max-age=300", &key, None);
        check("public, max-age=300", &json!([]), Some("no keys"));
        check(
            "public, max-age=300",
            &json!([{"kid": "1", "use": "sig"}]),
            Some("without alg"),
        );
        check("no-store", &key, Some("how long it holds"));
        check("max-age=0", &key, Some("how long it holds"));
    }
}

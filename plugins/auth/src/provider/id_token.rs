//! ID tokens (OpenID Connect Core 1.0, section 3.1.3.7).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nself_plugin_api::{jiff::Timestamp, prelude::*, serde_json, serde_json::Value};
use serde::{Deserialize, de::DeserializeOwned};
use sha2::{Digest, Sha256, Sha512};

use super::{Provider, directory::Directory};
use crate::Auth;

/// Longest token that is looked at.
const BYTES_MAX: usize = 16 * 1024;

/// How far two clocks may be apart, seconds.
const LEEWAY: i64 = 60;

/// What a token must say to be the one that is expected.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    /// Values of the nonce that are right.
    pub(super) nonces: &'a [&'a str],
    /// The access token that came with it.
    pub(super) access_token: Option<&'a str>,
    /// Whether a token of the product's native apps is right as well.
    pub(super) is_of_app: bool,
}

/// What a token says.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    iss: String,
    pub(super) sub: String,
    aud: Audience,
    azp: Option<String>,
    pub(super) exp: i64,
    iat: i64,
    nbf: Option<i64>,
    nonce: Option<String>,
    at_hash: Option<String>,
    #[serde(flatten)]
    pub(super) person: Person,
}

/// What is said of a person, in a token or by the userinfo endpoint.
#[derive(Debug, Deserialize)]
pub(super) struct Person {
    pub(super) email: Option<String>,
    email_verified: Option<Value>,
    pub(super) name: Option<String>,
}

impl Person {
    /// Apple writes it as a text.
    pub(super) fn is_email_verified(&self) -> bool {
        matches!(&self.email_verified, Some(Value::Bool(true)))
            || matches!(&self.email_verified, Some(Value::String(text)) if text == "true")
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that have to be understood; none is.
    crit: Option<Value>,
}

/// Why there are no claims.
pub(super) enum Refused {
    /// The token is not genuine, or not the expected one; as "its ID token" goes on.
    Token(&'static str),
    /// The place did not say what its keys are.
    Place(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Place(error)
    }
}

/// The claims of a token that is genuine and the expected one.
pub(super) async fn verify(
    cx: &Cx<Auth>,
    provider: &Provider,
    directory: &Directory,
    token: &str,
    expected: &Expected<'_>,
) -> Result<Claims, Refused> {
    let parts = take_apart(token).ok_or(Refused::Token("is none"))?;
    let pick = |keys: &[Value]| pick(keys, &parts.header);
    let key = directory.key(cx, provider, expected.issuer, pick).await?;
    let key = key.ok_or(Refused::Token(
        "is signed with a key that is not in its set",
    ))?;
    if !cx
        .crypto()
        .verify(&key, parts.signed.as_bytes(), &parts.signature)?
    {
        return Err(Refused::Token("has a wrong signature"));
    }
    let now = cx.clock().now()?;
    check(provider, &parts, expected, now).map_err(Refused::Token)?;
    Ok(parts.claims)
}

struct Parts<'a> {
    header: Header,
    claims: Claims,
    /// What the signature is of.
    signed: &'a str,
    signature: Vec<u8>,
}

fn take_apart(token: &str) -> Option<Parts<'_>> {
    if token.len() > BYTES_MAX {
        return None;
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let header: Header = read(header)?;
    Some(Parts {
        header,
        claims: read(claims)?,
        signed,
        signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
    })
    .filter(|parts| parts.header.crit.is_none())
}

fn read<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// The key that the header names. Its type says what it signs with; the header must agree, and chooses nothing.
fn pick(keys: &[Value], header: &Header) -> Option<Value> {
    let fits = |key: &&Value| {
        algorithm(key) == Some(&*header.alg)
            && header
                .kid
                .as_deref()
                .is_none_or(|kid| key["kid"].as_str() == Some(kid))
    };
    let mut fitting = keys.iter().filter(fits);
    let first = fitting.next()?;
    // Without a name it must be clear which one is meant.
    (header.kid.is_some() || fitting.next().is_none()).then(|| first.clone())
}

fn algorithm(key: &Value) -> Option<&'static str> {
    let algorithm = match (key["kty"].as_str()?, key["crv"].as_str()) {
        ("RSA", None) => "RS256",
        ("EC", Some("P-256")) => "ES256",
        ("OKP", Some("Ed25519")) => "EdDSA",
        _ => return None,
    };
    let agrees = |name: &str, expected: &str| {
        key.get(name)
            .is_none_or(|value| value.as_str() == Some(expected))
    };
    (agrees("alg", algorithm) && agrees("use", "sig")).then_some(algorithm)
}

fn check(
    provider: &Provider,
    parts: &Parts<'_>,
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<(), &'static str> {
    let (claims, now) = (&parts.claims, now.as_second());
    if claims.iss != expected.issuer {
        return Err("is of another issuer");
    }
    check_audience(provider, claims, expected.is_of_app)?;
    if claims.exp <= now - LEEWAY {
        return Err("has expired");
    }
    if claims.iat > now + LEEWAY || claims.nbf.is_some_and(|from| from > now + LEEWAY) {
        return Err("is of the future");
    }
    let nonce = claims.nonce.as_deref().unwrap_or_default();
    if nonce.is_empty() || !expected.nonces.contains(&nonce) {
        return Err("answers another request");
    }
    match (&claims.at_hash, expected.access_token) {
        (Some(hash), Some(token)) if *hash != half_hash(&parts.header.alg, token) => {
            Err("belongs to another access token")
        }
        _ => Ok(()),
    }
}

/// Who it is for: us, and nobody whom we do not know.
fn check_audience(
    provider: &Provider,
    claims: &Claims,
    is_of_app: bool,
) -> Result<(), &'static str> {
    let is_ours = |id: &String| {
        *id == provider.client_id || (is_of_app && provider.app_client_ids.contains(id))
    };
    let audiences = claims.aud.all();
    if !audiences.iter().any(is_ours) {
        return Err("is for somebody else");
    }
    match &claims.azp {
        Some(azp) if !is_ours(azp) => Err("was asked for by somebody else"),
        None if audiences.len() > 1 => Err("is for several, and does not say who asked"),
        _ => Ok(()),
    }
}

/// `at_hash` (OpenID Connect Core 1.0, section 3.1.3.6): half of the hash that belongs to the algorithm.
fn half_hash(algorithm: &str, access_token: &str) -> String {
    if algorithm == "EdDSA" {
        URL_SAFE_NO_PAD.encode(&Sha512::digest(access_token)[..32])
    } else {
        URL_SAFE_NO_PAD.encode(&Sha256::digest(access_token)[..16])
    }
}

#[cfg(test)]
mod tests {
    use nself_plugin_api::serde_json::json;

    use super::{super::presets, *};

    const NOW: i64 = 1_800_000_000;

    fn header(alg: &str, kid: Option<&str>) -> Header {
        Header {
            alg: alg.to_owned(),
            kid: kid.map(str::to_owned),
            crit: None,
        }
    }

    #[test]
    fn a_key_signs_with_its_own_algorithm_alone() {
        let keys = [
            json!({"kty": "RSA", "kid": "a", "n": "", "e": ""}),
            json!({"kty": "EC", "crv": "P-256", "kid": "b", "alg": "ES256", "use": "sig"}),
            json!({"kty": "EC", "crv": "P-256", "kid": "c", "use": "enc"}),
            json!({"kty": "oct", "kid": "d", "alg": "HS256"}),
        ];
        let found = |alg, kid| pick(&keys, &header(alg, kid)).is_some();
        assert!(found("RS256", Some("a")));
        assert!(found("ES256", Some("b")));
        assert!(found("RS256", None), "there is one such key");
        for (alg, kid) in [
            ("HS256", Some("a")),
            ("none", Some("a")),
            ("PS256", Some("a")),
            ("ES256", Some("a")),
            ("RS256", Some("b")),
            ("ES256", Some("c")),
            ("HS256", Some("d")),
            ("RS256", Some("../a")),
        ] {
            assert!(!found(alg, kid), "{alg} {kid:?}");
        }
        let twice = [keys[0].clone(), keys[0].clone()];
        assert!(pick(&twice, &header("RS256", None)).is_none());
    }

    #[track_caller]
    fn check_claims(change: impl FnOnce(&mut Value), is_of_app: bool, expected: Result<(), &str>) {
        let provider = presets::resolve(
            "place",
            &crate::config::Provider {
                issuer: Some("https://example.org".into()),
                client_id: "us".into(),
                app_client_ids: vec!["our-app".into()],
                ..crate::config::Provider::default()
            },
        );
        let mut claims = json!({
            "iss": "https://example.org", "sub": "1", "aud": "us", "exp": NOW + 60, "iat": NOW, "nonce": "n",
        });
        change(&mut claims);
        let parts = Parts {
            header: header("RS256", None),
            claims: serde_json::from_value(claims).expect("they are claims"),
            signed: "",
            signature: Vec::new(),
        };
        let wanted = Expected {
            issuer: "https://example.org",
            nonces: &["n"],
            access_token: Some("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"),
            is_of_app,
        };
        let now = Timestamp::from_second(NOW).expect("a time");
        let provider = provider.expect("a provider");
        assert_eq!(check(&provider, &parts, &wanted, now), expected);
    }

    #[test]
    fn a_token_is_for_us_from_them_and_of_now() {
        check_claims(|_| (), false, Ok(()));
        check_claims(
            |c| c["iss"] = json!("https://example.org/"),
            false,
            Err("is of another issuer"),
        );
        check_claims(
            |c| c["aud"] = json!(["them"]),
            false,
            Err("is for somebody else"),
        );
        check_claims(
            |c| c["aud"] = json!("our-app"),
            false,
            Err("is for somebody else"),
        );
        check_claims(|c| c["aud"] = json!("our-app"), true, Ok(()));
        check_claims(|c| c["aud"] = json!([]), false, Err("is for somebody else"));
        check_claims(
            |c| c["aud"] = json!(["us", "them"]),
            false,
            Err("is for several, and does not say who asked"),
        );
        check_claims(
            |c| c["azp"] = json!("them"),
            false,
            Err("was asked for by somebody else"),
        );
        check_claims(|c| c["exp"] = json!(NOW - 60), false, Err("has expired"));
        check_claims(
            |c| c["iat"] = json!(NOW + 61),
            false,
            Err("is of the future"),
        );
        check_claims(
            |c| c["nbf"] = json!(NOW + 61),
            false,
            Err("is of the future"),
        );
        check_claims(
            |c| c["nonce"] = json!("m"),
            false,
            Err("answers another request"),
        );
        check_claims(
            |c| c["nonce"] = Value::Null,
            false,
            Err("answers another request"),
        );
    }

    /// The example of OpenID Connect Core 1.0, appendix A.3.
    #[test]
    fn a_token_belongs_to_the_access_token_beside_it() {
        check_claims(
            |c| c["at_hash"] = json!("77QmUPtjPfzWtF2AnpK9RQ"),
            false,
            Ok(()),
        );
        check_claims(
            |c| c["at_hash"] = json!("77QmUPtjPfzWtF2AnpK9RR"),
            false,
            Err("belongs to another access token"),
        );
    }

    #[test]
    fn what_is_no_token_is_not_taken_apart() {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = part(&json!({"iss": "a", "sub": "b", "aud": "c", "exp": 1, "iat": 1}));
        let good = format!("{}.{claims}.AA", part(&json!({"alg": "RS256"})));
        assert!(take_apart(&good).is_some());
        let critical = part(&json!({"alg": "RS256", "crit": ["b64"]}));
        for bad in [
            String::new(),
            "a.b".into(),
            "a.b.c".into(),
            format!("{good}.AA"),
            format!("{critical}.{claims}.AA"),
            format!("{}.{}.AA", part(&json!({"alg": "RS256"})), part(&json!({}))),
            format!("{good}{}", "A".repeat(BYTES_MAX)),
        ] {
            assert!(take_apart(&bad).is_none(), "{bad:.40}");
        }
    }
}

//! Token requests: OAuth 2 (RFC 6749, 7523, 8693) and OpenID Connect discovery. What is refused is told by the error's word alone: the
//! rest of an answer may hold what nobody is to read.

use std::time::Duration;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use nself_plugin_api::{
    prelude::Cx,
    serde_json::{self, Map, Value, json},
    uuid::Uuid,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use sha2::Sha256;

use super::{Exchange, failed};
use crate::{Orchestrator, engine::Error as Fault};

const WELL_KNOWN: &str = "/.well-known/openid-configuration";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The largest answer of a token endpoint.
const BYTES_MAX: usize = 256 << 10;
/// Seconds that an assertion of ours holds.
const ASSERTION_SECONDS: i64 = 60;
/// What stands for itself in a form.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// What was granted.
pub(super) struct Granted {
    pub token: String,
    /// Nothing when the server does not say: such a token is used once.
    pub lasts: Duration,
    pub refresh: Option<String>,
}

/// What a token endpoint answers.
#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    id_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<Value>,
    refresh_token: Option<String>,
}

/// Asks for a token: by the grant that the fields name, or with a refresh token.
pub(super) async fn ask(
    cx: &Cx<Orchestrator>,
    fields: &Value,
    is_oidc: bool,
    refresh: Option<&str>,
) -> Result<Granted, Fault> {
    let url = endpoint(cx, fields, is_oidc).await?;
    let mut form = match refresh {
        Some(token) => vec![
            ("grant_type", "refresh_token".to_owned()),
            ("refresh_token", token.to_owned()),
        ],
        None => grant(fields, is_oidc)?,
    };
    let mut headers = vec![("accept".to_owned(), "application/json".to_owned())];
    let now = cx
        .clock()
        .now()
        .map_err(|error| failed(&error))?
        .as_second();
    match client(fields, &url, now)? {
        Client::Header(value) => headers.push(("authorization".to_owned(), value)),
        Client::Fields(more) => form.extend(more),
    }
    let is_json = fields["request"]["encoding"] == "application/json";
    let (kind, body) = if is_json {
        let fields: Map<String, Value> = form
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::from(value)))
            .collect();
        ("application/json", Value::Object(fields).to_string())
    } else {
        let pairs: Vec<String> = form
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, PLAIN)))
            .collect();
        ("application/x-www-form-urlencoded", pairs.join("&"))
    };
    headers.push(("content-type".to_owned(), kind.to_owned()));
    let exchange = Exchange {
        method: "POST",
        url: &url,
        headers,
        body: Some(body.into_bytes()),
    };
    let answer = exchange.send_with(cx, None).await?;
    let status = answer.status();
    let body = answer.bytes(BYTES_MAX).await;
    let body = body.map_err(|error| failed(&error))?;
    if status != 200 {
        return Err(refused(status, &body));
    }
    granted(fields, &body)
}

/// Where tokens are asked for.
async fn endpoint(cx: &Cx<Orchestrator>, fields: &Value, is_oidc: bool) -> Result<String, Fault> {
    let authority = text(fields, "authority")?.trim_end_matches('/');
    if !is_oidc && !authority.ends_with(WELL_KNOWN) {
        let path = fields["endpoints"]["token"].as_str();
        let path = path.unwrap_or("/oauth2/token");
        if path.starts_with("https://") || path.starts_with("http://") {
            return Ok(path.to_owned());
        }
        return Ok(format!("{authority}/{}", path.trim_start_matches('/')));
    }
    let url = if authority.ends_with(WELL_KNOWN) {
        authority.to_owned()
    } else {
        format!("{authority}{WELL_KNOWN}")
    };
    let exchange = Exchange {
        method: "GET",
        url: &url,
        headers: vec![("accept".to_owned(), "application/json".to_owned())],
        body: None,
    };
    let answer = exchange.send_with(cx, None).await?;
    if answer.status() != 200 {
        let problem = format!(
            "the authority's configuration was answered {}",
            answer.status()
        );
        return Err(Fault::authentication(problem));
    }
    let body = answer.bytes(BYTES_MAX).await;
    let body = body.map_err(|error| failed(&error))?;
    let found: Value = serde_json::from_slice(&body).unwrap_or_default();
    let endpoint = found["token_endpoint"].as_str();
    // Who promised to encrypt does not send us where nothing is.
    let is_safe =
        |endpoint: &&str| endpoint.starts_with("https://") || !url.starts_with("https://");
    let endpoint = endpoint.filter(is_safe).ok_or_else(|| {
        Fault::authentication(
            "the authority's configuration names no token endpoint that can be used",
        )
    })?;
    Ok(endpoint.to_owned())
}

/// What the grant sends.
fn grant(fields: &Value, is_oidc: bool) -> Result<Vec<(&'static str, String)>, Fault> {
    let grant = text(fields, "grant")?;
    let mut form = match grant {
        "client_credentials" => Vec::new(),
        "password" => vec![
            ("username", text(fields, "username")?.to_owned()),
            ("password", text(fields, "password")?.to_owned()),
        ],
        "refresh_token" => {
            let token = fields["refreshToken"]
                .as_str()
                .or(fields["subject"]["token"].as_str());
            let token = token.ok_or_else(|| {
                Fault::authentication(
                    "the grant refresh_token without a token: give it as subject.token",
                )
            })?;
            vec![("refresh_token", token.to_owned())]
        }
        EXCHANGE => exchanged(fields)?,
        "authorization_code" => {
            return Err(Fault::configuration(
                "the grant authorization_code needs a person at a browser: no workflow can use it",
            ));
        }
        other => return Err(Fault::configuration(format!("no grant is called {other}"))),
    };
    form.insert(0, ("grant_type", grant.to_owned()));
    let mut scopes = list(fields, "scopes");
    if is_oidc && !scopes.contains(&"openid") {
        scopes.insert(0, "openid");
    }
    if !scopes.is_empty() {
        form.push(("scope", scopes.join(" ")));
    }
    let audiences = list(fields, "audiences");
    if !audiences.is_empty() {
        form.push(("audience", audiences.join(" ")));
    }
    Ok(form)
}

fn exchanged(fields: &Value) -> Result<Vec<(&'static str, String)>, Fault> {
    let mut form = Vec::new();
    let parts = [
        ("subject", "subject_token", "subject_token_type"),
        ("actor", "actor_token", "actor_token_type"),
    ];
    for (name, token, kind) in parts {
        let part = &fields[name];
        if part.is_null() && name == "actor" {
            continue;
        }
        form.push((token, text(part, "token")?.to_owned()));
        form.push((kind, text(part, "type")?.to_owned()));
    }
    Ok(form)
}

/// How the client proves who it is.
enum Client {
    Header(String),
    Fields(Vec<(&'static str, String)>),
}

fn client(fields: &Value, url: &str, now: i64) -> Result<Client, Fault> {
    let client = &fields["client"];
    let id = || text(client, "id").map(str::to_owned);
    let secret = || text(client, "secret");
    let assertion = |token: String| {
        Client::Fields(vec![
            ("client_assertion_type", ASSERTION.to_owned()),
            ("client_assertion", token),
        ])
    };
    Ok(match client["authentication"].as_str() {
        None | Some("client_secret_post") => {
            let mut form = vec![("client_id", id()?)];
            // A public client has none.
            if let Some(secret) = client["secret"].as_str() {
                form.push(("client_secret", secret.to_owned()));
            }
            Client::Fields(form)
        }
        Some("client_secret_basic") => {
            let encoded = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
            let pair = format!("{}:{}", encoded(&id()?), encoded(secret()?));
            Client::Header(format!("Basic {}", STANDARD.encode(pair)))
        }
        Some("client_secret_jwt") => match client["assertion"].as_str() {
            Some(given) => assertion(given.to_owned()),
            None => assertion(signed(&id()?, secret()?, url, now)?),
        },
        Some("private_key_jwt") => assertion(text(client, "assertion")?.to_owned()),
        Some("none") => {
            let id = client["id"].as_str();
            Client::Fields(
                id.map(|id| ("client_id", id.to_owned()))
                    .into_iter()
                    .collect(),
            )
        }
        Some(other) => {
            let problem = format!("no authentication of clients is called {other}");
            return Err(Fault::configuration(problem));
        }
    })
}

/// What a client says of itself, under its secret.
fn signed(id: &str, secret: &str, url: &str, now: i64) -> Result<String, Fault> {
    let claims = json!({
        "iss": id, "sub": id, "aud": url, "jti": Uuid::now_v7(), "iat": now, "exp": now + ASSERTION_SECONDS,
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!(
        "{}.{}",
        part(&json!({"alg": "HS256", "typ": "JWT"})),
        part(&claims)
    );
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    let mut mac = mac.map_err(|_| Fault::authentication("client.secret cannot be a key"))?;
    mac.update(text.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    Ok(format!("{text}.{signature}"))
}

/// What is read of an answer that is good.
fn granted(fields: &Value, body: &[u8]) -> Result<Granted, Fault> {
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|_| Fault::authentication("the token endpoint's answer does not read"))?;
    let kind = answer.token_type.as_deref().unwrap_or("Bearer");
    if !kind.eq_ignore_ascii_case("bearer") {
        return Err(Fault::authentication(
            "the token endpoint granted no bearer token",
        ));
    }
    let token = answer.access_token.or(answer.id_token);
    let token = token
        .filter(|token| is_header(token))
        .ok_or_else(|| Fault::authentication("the token endpoint granted no token"))?;
    let issuers = list(fields, "issuers");
    if !issuers.is_empty() && !issuer(&token).is_some_and(|issuer| issuers.contains(&&*issuer)) {
        return Err(Fault::authentication(
            "the token is from none of the issuers that are named",
        ));
    }
    // Some servers write the number as a text.
    let seconds = answer.expires_in.as_ref().and_then(|seconds| {
        let text = seconds.as_str();
        seconds.as_u64().or_else(|| text?.parse().ok())
    });
    Ok(Granted {
        token,
        lasts: Duration::from_secs(seconds.unwrap_or(0).min(86_400 * 365)),
        refresh: answer.refresh_token,
    })
}

fn is_header(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Who a token says it is from. Whether that is true is for the one who gets it to check.
fn issuer(token: &str) -> Option<String> {
    let claims = token.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    claims["iss"].as_str().map(str::to_owned)
}

/// The word of RFC 6749, when it is one.
fn refused(status: u16, body: &[u8]) -> Fault {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let is_word = |word: &&str| {
        (1..=40).contains(&word.len())
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let word = answer["error"].as_str().filter(is_word);
    let word = word.map(|word| format!(" ({word})")).unwrap_or_default();
    Fault::authentication(format!("no token was granted: {status}{word}"))
}

fn text<'a>(fields: &'a Value, name: &str) -> Result<&'a str, Fault> {
    let value = fields[name].as_str();
    value
        .ok_or_else(|| Fault::authentication(format!("there is no {name} to ask for a token with")))
}

fn list<'a>(fields: &'a Value, name: &str) -> Vec<&'a str> {
    let values = fields[name].as_array().into_iter().flatten();
    values.filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_grant_sends_what_it_needs() {
        for (fields, expected) in [
            (
                json!({"grant": "client_credentials", "scopes": ["a", "b"], "audiences": ["c"]}),
                "grant_type=client_credentials&scope=a b&audience=c",
            ),
            (
                json!({"grant": "password", "username": "u", "password": "p"}),
                "grant_type=password&username=u&password=p",
            ),
            (
                json!({"grant": "refresh_token", "subject": {"token": "t", "type": "x"}}),
                "grant_type=refresh_token&refresh_token=t",
            ),
            (
                json!({"grant": EXCHANGE, "subject": {"token": "t", "type": "x"}}),
                "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=t&subject_token_type=x",
            ),
        ] {
            let form = grant(&fields, false).unwrap_or_else(|fault| panic!("{fault}"));
            let pairs: Vec<String> = form
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            assert_eq!(pairs.join("&"), expected);
        }
        let code = grant(&json!({"grant": "authorization_code"}), false);
        assert!(code.is_err_and(|fault| fault.to_string().contains("browser")));
    }

    #[test]
    fn what_is_refused_shows_a_word_and_no_more() {
        let shown = |body: &str| refused(400, body.as_bytes()).detail.unwrap_or_default();
        let told = shown("{\"error\": \"invalid_client\", \"error_description\": \"secret 4711\"}");
        assert_eq!(told, "no token was granted: 400 (invalid_client)");
        assert_eq!(
            shown("{\"error\": \"Secret 4711\"}"),
            "no token was granted: 400"
        );
    }

    #[test]
    fn a_token_is_from_an_issuer_that_is_named() {
        let claims = URL_SAFE_NO_PAD.encode("{\"iss\": \"https://a.example\"}");
        let body = json!({"access_token": format!("x.{claims}.y"), "expires_in": "60"}).to_string();
        let ask = |issuer: &str| granted(&json!({"issuers": [issuer]}), body.as_bytes());
        assert!(ask("https://a.example").is_ok_and(|one| one.lasts == Duration::from_secs(60)));
        assert!(ask("https://b.example").is_err());
    }

    #[test]
    fn a_client_proves_who_it_is_in_the_way_that_is_named() {
        let fields = |way: &str| json!({"client": {"id": "a b", "secret": "c", "assertion": "d", "authentication": way}});
        let Ok(Client::Header(value)) = client(&fields("client_secret_basic"), "", 0) else {
            panic!("it is a header");
        };
        assert_eq!(value, format!("Basic {}", STANDARD.encode("a%20b:c")));
        for (way, expected) in [
            ("client_secret_post", "client_secret"),
            ("private_key_jwt", "client_assertion"),
            ("none", "client_id"),
        ] {
            let Ok(Client::Fields(form)) = client(&fields(way), "", 0) else {
                panic!("they are fields");
            };
            assert_eq!(form.last().map(|(name, _)| *name), Some(expected), "{way}");
        }
        let token = signed("a", "b", "https://c", 0).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(token.split('.').count(), 3);
    }
}

//! A request that says who sends it. All of them go through the host's guarded client, those for tokens as well.

mod digest;
mod grant;
mod tokens;

use std::{borrow::Cow, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use nself_plugin_api::{
    capability::http::HttpResponse,
    prelude::{Cx, Error},
    serde_json::Value,
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

pub(crate) use self::tokens::Tokens;
use crate::{
    Orchestrator,
    engine::{Authentication, Error as Fault, PROOF},
};

/// Bytes of randomness of a digest's own part.
const NONCE_BYTES: u32 = 24;

/// A request without its proof.
pub(crate) struct Exchange<'a> {
    pub method: &'a str,
    pub url: &'a str,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
}

/// It may hold secrets.
impl fmt::Debug for Exchange<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Exchange").finish_non_exhaustive()
    }
}

impl Exchange<'_> {
    /// Sends it as who `authentication` says. Whatever is answered is an answer.
    ///
    /// # Errors
    ///
    /// There is no answer, or no way to prove who sends it.
    pub(crate) async fn send(
        &self,
        cx: &Cx<Orchestrator>,
        authentication: Option<&Authentication>,
    ) -> Result<HttpResponse, Fault> {
        match authentication {
            None => self.send_with(cx, None).await,
            Some(Authentication::Basic { username, password }) => {
                let pair = STANDARD.encode(format!("{username}:{password}"));
                self.send_with(cx, Some(&format!("Basic {pair}"))).await
            }
            Some(Authentication::Bearer { token }) => {
                self.send_with(cx, Some(&format!("Bearer {token}"))).await
            }
            Some(Authentication::Digest { username, password }) => {
                self.send_digested(cx, username, password).await
            }
            Some(Authentication::OAuth2(fields)) => self.send_granted(cx, fields, false).await,
            Some(Authentication::Oidc(fields)) => self.send_granted(cx, fields, true).await,
        }
    }

    async fn send_with(
        &self,
        cx: &Cx<Orchestrator>,
        authorization: Option<&str>,
    ) -> Result<HttpResponse, Fault> {
        let proof = authorization.and_then(|value| value.split_once(' '));
        let proof = proof.map_or("", |(_, parameter)| parameter);
        let url = with_proof_in_query(self.url, proof);
        let http = cx.http();
        let mut request = http.request(self.method, &url);
        for (name, value) in &self.headers {
            request = request.header(name, &with_proof(value, proof));
        }
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        if let Some(body) = &self.body {
            request = request.body(match std::str::from_utf8(body) {
                Ok(text) => with_proof(text, proof).into_owned().into_bytes(),
                Err(_) => body.clone(),
            });
        }
        request.send().await.map_err(|error| failed(&error))
    }

    /// The first answer says what is to be digested: nothing has been done by then.
    async fn send_digested(
        &self,
        cx: &Cx<Orchestrator>,
        username: &str,
        password: &str,
    ) -> Result<HttpResponse, Fault> {
        let mut answer = self.send_with(cx, None).await?;
        // Once more when what is to be digested has grown old in between.
        for _ in 0..2 {
            if answer.status() != 401 {
                return Ok(answer);
            }
            let Some(challenge) = digest::challenge(answer.headers()) else {
                return Err(Fault::authentication(
                    "the server asks for no digest that is known here: MD5, SHA-256 and SHA-512-256 are, with the quality auth",
                ));
            };
            let random = cx.crypto().random(NONCE_BYTES);
            let random = random.map_err(|error| failed(&error))?;
            let request = digest::Request {
                method: self.method,
                uri: path_of(self.url),
                username,
                password,
                nonce: &STANDARD.encode(&random),
            };
            let value = challenge.answer(&request);
            answer = self.send_with(cx, Some(&value)).await?;
            let again = digest::challenge(answer.headers());
            if !again.is_some_and(|again| again.is_stale) {
                break;
            }
        }
        Ok(answer)
    }

    async fn send_granted(
        &self,
        cx: &Cx<Orchestrator>,
        fields: &Value,
        is_oidc: bool,
    ) -> Result<HttpResponse, Fault> {
        let (token, is_kept) = tokens::token(cx, fields, is_oidc).await?;
        let answer = self.send_with(cx, Some(&format!("Bearer {token}"))).await?;
        if answer.status() != 401 || !is_kept {
            return Ok(answer);
        }
        // One that was taken back before its time.
        tokens::forget(cx, fields, is_oidc);
        let (token, _) = tokens::token(cx, fields, is_oidc).await?;
        self.send_with(cx, Some(&format!("Bearer {token}"))).await
    }
}

/// Puts what proves who sends a request where it asks for that by `$authorization`. Before a challenge there is nothing yet.
fn with_proof<'t>(text: &'t str, proof: &str) -> Cow<'t, str> {
    if text.contains(PROOF) {
        return Cow::Owned(text.replace(PROOF, proof));
    }
    Cow::Borrowed(text)
}

/// [`PROOF`] as it stands in an address.
const PROOF_ESCAPED: &str = "%E2%9F%A6secret%3A%24authorization%E2%9F%A7";

/// The same in the query of an address, where it is escaped. Nowhere else: texts from outside may be escaped as they like.
fn with_proof_in_query<'u>(url: &'u str, proof: &str) -> Cow<'u, str> {
    match url.split_once('?') {
        Some((path, query)) if query.contains(PROOF_ESCAPED) => {
            let proof = utf8_percent_encode(proof, NON_ALPHANUMERIC).to_string();
            let query = query.replace(PROOF_ESCAPED, &proof);
            Cow::Owned(format!("{path}?{query}"))
        }
        _ => Cow::Borrowed(url),
    }
}

/// No answer at all: the host's sentence has neither address nor secret.
pub(crate) fn failed(error: &Error) -> Fault {
    Fault::communication(500, format!("{} ({})", error.message(), error.code()))
}

/// Path and query of an address.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split('#').next().unwrap_or_default();
    rest.find(['/', '?']).map_or("/", |at| &rest[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_put_where_a_request_asks_for_it() {
        let body = format!("{{\"p\":\"{PROOF}\"}}");
        assert_eq!(with_proof(&body, "a/b"), "{\"p\":\"a/b\"}");
        assert_eq!(with_proof("nothing", "a/b"), "nothing");
        let escaped = PROOF_ESCAPED;
        let mark = utf8_percent_encode(PROOF, NON_ALPHANUMERIC).to_string();
        assert_eq!(mark, escaped);
        assert_eq!(with_proof(escaped, "a/b"), escaped);
        let address = format!("https://a.example/{escaped}?p={escaped}&q=1");
        let expected = format!("https://a.example/{escaped}?p=a%2Fb&q=1");
        assert_eq!(with_proof_in_query(&address, "a/b"), expected);
    }

    #[test]
    fn a_digest_is_of_path_and_query() {
        for (url, expected) in [
            ("https://a.example/b/c?d=1#e", "/b/c?d=1"),
            ("https://a.example", "/"),
        ] {
            assert_eq!(path_of(url), expected);
        }
    }
}

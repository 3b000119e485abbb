//! The authorization code flow with PKCE (RFC 6749, RFC 7636, OpenID Connect Core 1.0, section 3.1), and ID tokens that
//! native apps bring.

use std::time::Duration;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use data_encoding::HEXLOWER;
use nself_plugin_api::prelude::*;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    Profile, Protocol, Provider, client_secret,
    directory::{Directory, Metadata},
    failed,
    fetch::{self, urlencoded},
    id_token::{self, Expected, Refused},
    userinfo,
};
use crate::{Auth, problem};

/// What is asked of a place.
pub(crate) struct Request<'a> {
    /// Where it answers to: an address of this place alone, so that the code of one place is never brought to another
    /// (RFC 9700, section 4.4.2.2).
    pub(crate) callback: &'a str,
    pub(crate) state: &'a str,
    pub(crate) nonce: &'a str,
    /// The secret of PKCE; the place sees its hash.
    pub(crate) verifier: &'a str,
}

/// What a place has answered.
pub(crate) struct Grant<'a> {
    /// The same as in the request.
    pub(crate) callback: &'a str,
    pub(crate) code: &'a str,
    pub(crate) nonce: &'a str,
    pub(crate) verifier: &'a str,
}

/// S256 of PKCE (RFC 7636, section 4.2).
pub(crate) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

/// Where somebody is sent who wants to sign in.
pub(crate) async fn address(
    cx: &Cx<Auth>,
    provider: &Provider,
    request: &Request<'_>,
) -> Result<String> {
    let challenge = challenge(request.verifier);
    let mut query = vec![
        ("response_type", "code"),
        ("client_id", &*provider.client_id),
        ("redirect_uri", request.callback),
        ("scope", &provider.scopes),
        ("state", request.state),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    if provider.uses_form_post {
        query.push(("response_mode", "form_post"));
    }
    let endpoint = match &provider.protocol {
        Protocol::OpenId { issuer, directory } => {
            query.push(("nonce", request.nonce));
            let metadata = directory.metadata(cx, provider, issuer).await?;
            metadata.authorization_endpoint.clone()
        }
        Protocol::OAuth(oauth) => oauth.authorization.clone(),
    };
    let joint = if endpoint.contains('?') { '&' } else { '?' };
    Ok(format!("{endpoint}{joint}{}", urlencoded(&query)?))
}

/// Whether the answer is that of the place that was asked (RFC 9207). A place that has announced to say who it is must.
pub(crate) async fn check_issuer(
    cx: &Cx<Auth>,
    provider: &Provider,
    said: Option<&str>,
) -> Result<()> {
    let Protocol::OpenId { issuer, directory } = &provider.protocol else {
        return Ok(());
    };
    let metadata = directory.metadata(cx, provider, issuer).await?;
    match said {
        Some(said) if said != issuer => Err(failed(provider, "another issuer has answered")),
        None if metadata.authorization_response_iss_parameter_supported => {
            Err(failed(provider, "the answer does not say whose it is"))
        }
        _ => Ok(()),
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<String>,
    id_token: Option<String>,
}

/// Who somebody is, for the code that a place has sent along.
pub(crate) async fn redeem(
    cx: &Cx<Auth>,
    provider: &Provider,
    grant: &Grant<'_>,
) -> Result<Profile> {
    match &provider.protocol {
        Protocol::OpenId { issuer, directory } => {
            redeem_openid(cx, provider, issuer, directory, grant).await
        }
        Protocol::OAuth(oauth) => {
            let tokens = exchange(cx, provider, &oauth.token, Authentication::Form, grant).await?;
            let token = access_token(provider, &tokens)?;
            userinfo::of_oauth(cx, provider, oauth, token).await
        }
    }
}

async fn redeem_openid(
    cx: &Cx<Auth>,
    provider: &Provider,
    issuer: &str,
    directory: &Directory,
    grant: &Grant<'_>,
) -> Result<Profile> {
    let metadata = directory.metadata(cx, provider, issuer).await?;
    let authentication = Authentication::of(&metadata);
    let tokens = exchange(
        cx,
        provider,
        &metadata.token_endpoint,
        authentication,
        grant,
    )
    .await?;
    let token = access_token(provider, &tokens)?;
    let id_token = tokens.id_token.as_deref();
    let id_token = id_token.ok_or_else(|| failed(provider, "it sent no ID token"))?;
    let expected = Expected {
        issuer,
        nonces: &[grant.nonce],
        access_token: Some(token),
        is_of_app: false,
    };
    let verified = id_token::verify(cx, provider, directory, id_token, &expected).await;
    let claims = verified.map_err(|refused| match refused {
        Refused::Token(reason) => failed(provider, format_args!("its ID token {reason}")),
        Refused::Place(error) => error,
    })?;
    let person = match &metadata.userinfo_endpoint {
        Some(endpoint) if claims.person.email.is_none() => {
            userinfo::of_openid(cx, provider, endpoint, token, &claims.sub).await?
        }
        _ => claims.person,
    };
    userinfo::profile(provider, issuer, &claims.sub, &person)
}

fn access_token<'a>(provider: &Provider, tokens: &'a TokenAnswer) -> Result<&'a str> {
    let token = tokens.access_token.as_deref();
    // It becomes part of a header.
    let token = token.filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()));
    // Some answer 200 and say in the body that the code is wrong.
    token.ok_or_else(|| failed(provider, "it sent no access token"))
}

/// How the client shows its secret (RFC 6749, section 2.3.1).
#[derive(Clone, Copy)]
enum Authentication {
    Basic,
    Form,
}

impl Authentication {
    /// What the provider takes; `client_secret_basic` where it does not say.
    fn of(metadata: &Metadata) -> Self {
        let methods = metadata.token_endpoint_auth_methods_supported.as_deref();
        let takes_basic = methods
            .is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"));
        if takes_basic { Self::Basic } else { Self::Form }
    }
}

async fn exchange(
    cx: &Cx<Auth>,
    provider: &Provider,
    endpoint: &str,
    authentication: Authentication,
    grant: &Grant<'_>,
) -> Result<TokenAnswer> {
    let secret = client_secret::of(cx, provider)?;
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", grant.code),
        ("redirect_uri", grant.callback),
        ("code_verifier", grant.verifier),
    ];
    let mut header = None;
    match (&secret, authentication) {
        (Some(secret), Authentication::Basic) => {
            let pair = format!("{}:{}", encoded(&provider.client_id)?, encoded(secret)?);
            header = Some(format!("Basic {}", STANDARD.encode(pair)));
        }
        (Some(secret), Authentication::Form) => {
            form.extend([
                ("client_id", &*provider.client_id),
                ("client_secret", secret),
            ]);
        }
        (None, _) => form.push(("client_id", &provider.client_id)),
    }
    fetch::post(cx, provider, endpoint, &form, header.as_deref()).await
}

/// One value of a form.
fn encoded(value: &str) -> Result<String> {
    Ok(urlencoded(&[("", value)])?.split_off(1))
}

/// Who somebody is, for the ID token that a native app was given by the system. It is taken once.
pub(crate) async fn accept_id_token(
    cx: &Cx<Auth>,
    provider: &Provider,
    token: &str,
    nonce: &str,
) -> Result<Profile> {
    let Protocol::OpenId { issuer, directory } = &provider.protocol else {
        return Err(problem::no_provider());
    };
    // Apps give the system the nonce itself, or, where the system shows it around, its hash.
    let hash = HEXLOWER.encode(&Sha256::digest(nonce));
    let expected = Expected {
        issuer,
        nonces: &[nonce, &hash],
        access_token: None,
        is_of_app: true,
    };
    let verified = id_token::verify(cx, provider, directory, token, &expected).await;
    let claims = verified.map_err(|refused| match refused {
        Refused::Token(reason) => problem::bad_id_token().with_cause(reason),
        Refused::Place(error) => error,
    })?;
    // What is signed names the token: a signature can be written in more than one way.
    let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
    let seen = format!("id-token/{}", HEXLOWER.encode(&Sha256::digest(signed)));
    let left = claims.exp.saturating_sub(cx.clock().now()?.as_second());
    let left = Duration::from_secs(u64::try_from(left).unwrap_or_default().min(86_400) + 120);
    if !cx
        .kv()
        .compare_and_set(&seen, None, Some(b"used"), left)
        .await?
    {
        return Err(problem::bad_id_token());
    }
    userinfo::profile(provider, issuer, &claims.sub, &claims.person)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_rfc_7636() {
        assert_eq!(
            challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn an_id_and_a_secret_may_have_any_characters() {
        assert_eq!(encoded("a:b c%").expect("a text"), "a%3Ab+c%25");
        assert_eq!(encoded("").expect("a text"), "");
    }
}

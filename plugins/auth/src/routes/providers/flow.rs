//! A sign-in that is on its way: begun here, answered by another place, taken up again in the same browser.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nself_plugin_api::{http::HeaderMap, prelude::*, serde_json};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::{Callback, Start, answer::cookie};
use crate::{
    Auth,
    one_time::{self, Purpose, Subject},
    problem,
    provider::{
        self, Profile, Provider,
        authorization::{self, challenge},
        user_field,
    },
    redirect,
};

/// Bytes of a nonce, a verifier, a cookie.
const SECRET_BYTES: u32 = 32;
/// Longest text that is given back.
const STATE_BYTES_MAX: usize = 500;
/// How a place says that somebody does not want to; the second is Apple's word for it.
const DENIED: [&str; 2] = ["access_denied", "user_cancelled_authorize"];

/// How a sign-in is to end: each kind of app has its own ways, and its flows are good for no other.
pub(crate) trait Goal: Serialize + DeserializeOwned + Send + Sync {
    const PURPOSE: Purpose;

    /// Below which path a place answers, with its name and `callback`.
    const PATH: &'static str;

    /// Whose account it is about, where that is known before.
    fn owner(&self) -> Option<Uuid>;
}

/// How a sign-in of the house's own apps is to end.
#[derive(Serialize, Deserialize)]
pub(crate) struct Aim {
    pub(super) redirect_to: String,
    pub(super) code_challenge: String,
    pub(super) state: Option<String>,
    /// The account that the place is to be linked to.
    #[serde(default)]
    pub(super) link: Option<Uuid>,
}

impl Goal for Aim {
    const PURPOSE: Purpose = Purpose::ProviderFlow;
    const PATH: &'static str = "/auth/oauth";

    fn owner(&self) -> Option<Uuid> {
        self.link
    }
}

impl Aim {
    /// # Errors
    ///
    /// `REDIRECT_NOT_ALLOWED`, `CODE_CHALLENGE_INVALID`, `STATE_TOO_LONG`.
    pub(crate) fn new(
        cx: &Cx<Auth>,
        redirect_to: &str,
        code_challenge: &str,
        state: Option<&str>,
    ) -> Result<Self> {
        let redirect_to = redirect::allowed(&cx.plugin().config, redirect_to)?;
        check_challenge(code_challenge)?;
        if state.is_some_and(|state| state.len() > STATE_BYTES_MAX) {
            return Err(Error::invalid(
                "STATE_TOO_LONG",
                format!("state: expected at most {STATE_BYTES_MAX} bytes"),
            ));
        }
        Ok(Self {
            redirect_to,
            code_challenge: code_challenge.to_owned(),
            state: state.map(str::to_owned),
            link: None,
        })
    }

    pub(super) fn of_query(cx: &Cx<Auth>, start: &Start) -> Result<Self> {
        let method = start.code_challenge_method.as_deref();
        if method.is_some_and(|method| method != "S256") {
            return Err(problem::bad_challenge());
        }
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (redirect_to, code_challenge) = (text(&start.redirect_to), text(&start.code_challenge));
        Self::new(cx, &redirect_to, &code_challenge, start.state.as_deref())
    }

    /// What somebody who was signed in has asked for a moment ago.
    pub(super) async fn of_ticket(
        cx: &Cx<Auth>,
        provider: &Provider,
        ticket: &str,
    ) -> Result<Self> {
        let transaction = cx.db().begin().await?;
        let (transaction, used) =
            one_time::use_link(cx, transaction, Purpose::ProviderLink, ticket).await?;
        transaction.commit().await?;
        let Ticket {
            provider: slug,
            aim,
        } = serde_json::from_value(used.payload).map_err(Error::internal)?;
        if slug != provider.slug {
            return Err(problem::bad_code());
        }
        Ok(Self {
            link: Some(used.user_id.ok_or_else(problem::bad_code)?),
            ..aim
        })
    }
}

/// What is kept between the wish to link a place and the browser's coming.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ticket {
    pub(crate) provider: String,
    pub(crate) aim: Aim,
}

/// Where a place answers to.
pub(crate) fn callback<G: Goal>(cx: &Cx<Auth>, provider: &Provider) -> String {
    let root = cx.plugin().config.public_url.trim_end_matches('/');
    format!("{root}{}/{}/callback", G::PATH, provider.slug)
}

/// A sign-in on its way.
pub(crate) struct Flow<G> {
    /// The code that somebody has come back with, once they have.
    pub(crate) begun_by: Option<Uuid>,
    /// Names it to the place, and authenticates the answer.
    pub(crate) state: String,
    nonce: String,
    verifier: String,
    /// What the browser keeps.
    pub(crate) browser: String,
    pub(crate) goal: G,
}

/// What is kept of it here.
#[derive(Serialize, Deserialize)]
struct Kept<G> {
    provider: String,
    nonce: String,
    verifier: String,
    /// The hash of what the browser keeps.
    browser: String,
    goal: G,
}

impl<G: Goal> Flow<G> {
    pub(crate) async fn begin(cx: &Cx<Auth>, provider: &Provider, goal: G) -> Result<Self> {
        let (nonce, verifier, browser) = (secret(cx)?, secret(cx)?, secret(cx)?);
        let kept = Kept {
            provider: provider.slug.clone(),
            nonce,
            verifier,
            browser: challenge(&browser),
            goal,
        };
        let target = Uuid::now_v7().to_string();
        let subject = Subject {
            purpose: G::PURPOSE,
            target: &target,
            user_id: kept.goal.owner(),
            payload: serde_json::to_value(&kept).map_err(Error::internal)?,
        };
        let state = one_time::link(cx, &cx.db(), subject).await?;
        let state = state.ok_or_else(problem::bad_flow)?;
        Ok(Self {
            begun_by: None,
            state,
            nonce: kept.nonce,
            verifier: kept.verifier,
            browser,
            goal: kept.goal,
        })
    }

    /// Where the browser is sent.
    pub(crate) async fn address(&self, cx: &Cx<Auth>, provider: &Provider) -> Result<String> {
        let request = authorization::Request {
            callback: &callback::<G>(cx, provider),
            state: &self.state,
            nonce: &self.nonce,
            verifier: &self.verifier,
        };
        authorization::address(cx, provider, &request).await
    }

    /// The flow that a place answers to, if this place was asked, by this browser. It is used up.
    pub(crate) async fn resume(
        cx: &Cx<Auth>,
        provider: &Provider,
        state: &str,
        headers: &HeaderMap,
    ) -> Result<Self> {
        let transaction = cx.db().begin().await?;
        let used = one_time::use_link(cx, transaction, G::PURPOSE, state).await;
        let (transaction, used) = used.map_err(|error| match error.code() {
            "CODE_INVALID" => problem::bad_flow(),
            _ => error,
        })?;
        transaction.commit().await?;
        let kept: Kept<G> = serde_json::from_value(used.payload).map_err(Error::internal)?;
        let is_secure = super::is_secure(cx);
        let browser = cookie(headers, state, is_secure).unwrap_or_default();
        if kept.provider != provider.slug || !is_same(&challenge(&browser), &kept.browser) {
            return Err(problem::bad_flow());
        }
        Ok(Self {
            begun_by: Some(used.id),
            state: state.to_owned(),
            nonce: kept.nonce,
            verifier: kept.verifier,
            browser,
            goal: kept.goal,
        })
    }

    /// Who has come back.
    pub(crate) async fn profile(
        &self,
        cx: &Cx<Auth>,
        provider: &Provider,
        answer: &Callback,
    ) -> Result<Profile> {
        authorization::check_issuer(cx, provider, answer.iss.as_deref()).await?;
        let code = match (&answer.code, &answer.error) {
            (Some(code), None) => code,
            (_, Some(error)) if DENIED.contains(&error.as_str()) => {
                return Err(problem::provider_denied());
            }
            _ => return Err(provider::failed(provider, "it sent no code")),
        };
        let grant = authorization::Grant {
            callback: &callback::<G>(cx, provider),
            code,
            nonce: &self.nonce,
            verifier: &self.verifier,
        };
        let mut profile = authorization::redeem(cx, provider, &grant).await?;
        if profile.name.is_empty()
            && let Some(sealed) = &answer.user
            && let Some(name) = user_field::open(cx, sealed, &self.state)
        {
            profile.name = name;
        }
        Ok(profile)
    }
}

fn secret(cx: &Cx<Auth>) -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(cx.crypto().random(SECRET_BYTES)?))
}

/// Whether it is the S256 of something.
///
/// # Errors
///
/// `CODE_CHALLENGE_INVALID`.
pub(crate) fn check_challenge(challenge: &str) -> Result<()> {
    let decoded = URL_SAFE_NO_PAD.decode(challenge);
    let is_hash = decoded.is_ok_and(|hash| hash.len() == Sha256::output_size());
    is_hash.then_some(()).ok_or_else(problem::bad_challenge)
}

/// Whether the secret is the one whose hash was sent at the start.
///
/// # Errors
///
/// `CODE_INVALID`.
pub(crate) fn check_verifier(verifier: &str, expected: &str) -> Result<()> {
    let is_shaped = (43..=128).contains(&verifier.len());
    let is_it = is_same(&challenge(verifier), expected);
    (is_shaped && is_it)
        .then_some(())
        .ok_or_else(problem::bad_code)
}

fn is_same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

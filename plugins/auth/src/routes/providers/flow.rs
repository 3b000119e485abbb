//! A sign-in that is on its way: begun here, answered by another place, taken up again in the same browser.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nself_plugin_api::{http::HeaderMap, prelude::*, serde_json};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::{Start, answer::cookie};
use crate::{
    Auth,
    one_time::{self, Purpose, Subject},
    problem,
    provider::{Provider, authorization::challenge},
    redirect,
};

/// Bytes of a nonce, a verifier, a cookie.
const SECRET_BYTES: u32 = 32;
/// Longest text that is given back.
const STATE_BYTES_MAX: usize = 500;

/// How a sign-in is to end.
#[derive(Serialize, Deserialize)]
pub(crate) struct Aim {
    pub(super) redirect_to: String,
    pub(super) code_challenge: String,
    pub(super) state: Option<String>,
    /// The account that the place is to be linked to.
    #[serde(default)]
    pub(super) link: Option<Uuid>,
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

/// A sign-in on its way.
pub(crate) struct Flow {
    /// Names it to the place, and authenticates the answer.
    pub(super) state: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
    /// What the browser keeps.
    pub(super) browser: String,
    pub(super) aim: Aim,
}

/// What is kept of it here.
#[derive(Serialize, Deserialize)]
struct Kept {
    provider: String,
    nonce: String,
    verifier: String,
    /// The hash of what the browser keeps.
    browser: String,
    aim: Aim,
}

impl Flow {
    pub(super) async fn begin(cx: &Cx<Auth>, provider: &Provider, aim: Aim) -> Result<Self> {
        let (nonce, verifier, browser) = (secret(cx)?, secret(cx)?, secret(cx)?);
        let kept = Kept {
            provider: provider.slug.clone(),
            nonce,
            verifier,
            browser: challenge(&browser),
            aim,
        };
        let target = Uuid::now_v7().to_string();
        let subject = Subject {
            purpose: Purpose::ProviderFlow,
            target: &target,
            user_id: kept.aim.link,
            payload: serde_json::to_value(&kept).map_err(Error::internal)?,
        };
        let state = one_time::link(cx, subject).await?;
        let state = state.ok_or_else(problem::bad_flow)?;
        Ok(Self {
            state,
            nonce: kept.nonce,
            verifier: kept.verifier,
            browser,
            aim: kept.aim,
        })
    }

    /// The flow that a place answers to, if this place was asked, by this browser. It is used up.
    pub(super) async fn resume(
        cx: &Cx<Auth>,
        provider: &Provider,
        state: &str,
        headers: &HeaderMap,
    ) -> Result<Self> {
        let transaction = cx.db().begin().await?;
        let used = one_time::use_link(cx, transaction, Purpose::ProviderFlow, state).await;
        let (transaction, used) = used.map_err(|error| match error.code() {
            "CODE_INVALID" => problem::bad_flow(),
            _ => error,
        })?;
        transaction.commit().await?;
        let kept: Kept = serde_json::from_value(used.payload).map_err(Error::internal)?;
        let is_secure = super::is_secure(cx);
        let browser = cookie(headers, state, is_secure).unwrap_or_default();
        if kept.provider != provider.slug || !is_same(&challenge(&browser), &kept.browser) {
            return Err(problem::bad_flow());
        }
        Ok(Self {
            state: state.to_owned(),
            nonce: kept.nonce,
            verifier: kept.verifier,
            browser,
            aim: kept.aim,
        })
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
fn check_challenge(challenge: &str) -> Result<()> {
    let decoded = URL_SAFE_NO_PAD.decode(challenge);
    let is_hash = decoded.is_ok_and(|hash| hash.len() == Sha256::output_size());
    is_hash.then_some(()).ok_or_else(problem::bad_challenge)
}

/// Whether the secret is the one whose hash was sent at the start.
///
/// # Errors
///
/// `CODE_INVALID`.
pub(super) fn check_verifier(verifier: &str, expected: &str) -> Result<()> {
    let is_shaped = (43..=128).contains(&verifier.len());
    let is_it = is_same(&challenge(verifier), expected);
    (is_shaped && is_it)
        .then_some(())
        .ok_or_else(problem::bad_code)
}

fn is_same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

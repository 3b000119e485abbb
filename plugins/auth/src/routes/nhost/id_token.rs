//! `/signin/idtoken`, `/signup/idtoken`, `/link/idtoken`: what the system of a phone gave to an app.

use nself_plugin_api::prelude::*;
use serde::Deserialize;

use super::{Answer, OK, Options, Sent, SessionPayload, answer};
use crate::{
    Auth,
    caller::Caller,
    linking::{self, Owner},
    problem,
    provider::{Profile, Provider, authorization},
    routes::{identities, providers},
    throttle::{self, Action},
};

/// Fewest characters of a nonce.
const NONCE_MIN: usize = 8;

/// A token of another place.
#[derive(Deserialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    /// The place, by its name in the configuration.
    pub provider: String,
    /// The token.
    pub id_token: String,
    /// What the app asked the system with, or what it gave the system the SHA-256 of.
    pub nonce: Option<String>,
    /// What else the app says, for an account that begins with it.
    #[serde(default)]
    pub options: Options,
}

impl Shown {
    /// Who it is of. A token without a nonce could be one that was asked for elsewhere, so there is no doing without.
    async fn accept<'a>(&self, cx: &'a Cx<Auth>) -> Result<(&'a Provider, Profile)> {
        let nonce = self.nonce.as_deref().unwrap_or_default();
        if nonce.chars().count() < NONCE_MIN {
            return Err(Error::bad_request(
                "BODY_INVALID",
                format!(
                    "nonce: expected the one that the token was asked for with, of {NONCE_MIN} characters or more"
                ),
            ));
        }
        let provider = cx.plugin().providers.find(&self.provider)?;
        let profile = authorization::accept_id_token(cx, provider, &self.id_token, nonce).await?;
        Ok((provider, profile))
    }
}

pub(crate) async fn sign_in(
    cx: Cx<Auth>,
    caller: Caller,
    Sent(sent): Sent<Shown>,
) -> Result<Answer<SessionPayload>> {
    answer(async {
        let sent = sent?;
        throttle::address(&cx, Action::SignIn, &caller).await?;
        sent.options.check_roles()?;
        let (provider, profile) = sent.accept(&cx).await?;
        let newcomer = sent.options.newcomer()?;
        let user_id = linking::account_of(&cx, provider, &profile, &newcomer, &caller).await?;
        let signed_in = providers::sign_in(&cx, user_id, None, None, &caller).await?;
        SessionPayload::signed_in(&cx, signed_in).await
    })
    .await
}

pub(crate) async fn link(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Sent(sent): Sent<Shown>,
) -> Result<Answer<&'static str>> {
    answer(async {
        let sent = sent?;
        let user_id = identities::may_change(&cx, &principal).await?;
        throttle::address(&cx, Action::Code, &caller).await?;
        let owner = Owner {
            user_id,
            session_id: principal.session_id.ok_or_else(problem::session_ended)?,
        };
        let (provider, profile) = sent.accept(&cx).await?;
        linking::link(&cx, provider, &profile, owner, &caller).await?;
        Ok(OK)
    })
    .await
}

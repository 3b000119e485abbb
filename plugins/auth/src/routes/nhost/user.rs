//! `/user/*`: the one who is signed in. And `/version`.

use nself_plugin_api::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Answer, OK, Sent, User, answer, landing, tokens::unauthenticated};
use crate::{
    Auth, address,
    caller::Caller,
    landing::{Landing, Ticket},
    new_password::{self, Right},
    problem,
    store::accounts,
    throttle::{self, Action},
};

pub(crate) async fn show(cx: Cx<Auth>, principal: Principal) -> Result<Answer<User>> {
    answer(async {
        let account = accounts::find_by_id(&cx.db(), principal.user()?)
            .await?
            .ok_or_else(problem::session_ended)?;
        super::user(&cx, account.user, principal.role.map(Role::name)).await
    })
    .await
}

/// A new password.
#[derive(Deserialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewPassword {
    /// The new one.
    pub new_password: String,
    /// From the link in a mail; without it, whoever is signed in.
    pub ticket: Option<String>,
}

pub(crate) async fn change_password(
    cx: Cx<Auth>,
    principal: Option<Principal>,
    caller: Caller,
    Sent(sent): Sent<NewPassword>,
) -> Result<Answer<&'static str>> {
    answer(async {
        let sent = sent?;
        match (sent.ticket, principal) {
            (Some(ticket), _) => {
                throttle::address(&cx, Action::Code, &caller).await?;
                let (Ticket::ResetPassword, token) =
                    Ticket::read(&ticket).ok_or_else(problem::bad_code)?
                else {
                    return Err(problem::bad_code());
                };
                new_password::by_link(&cx, token, &sent.new_password, &caller).await?;
            }
            // hasura-auth asks for no old password; a proof of minutes ago stands for it.
            (None, Some(principal)) => {
                let right = Right::Fresh;
                new_password::change(&cx, &principal, right, &sent.new_password, &caller).await?;
            }
            (None, None) => return Err(unauthenticated()),
        }
        Ok(OK)
    })
    .await
}

/// Where a link in a mail leads at last.
#[derive(Default, Deserialize, Schema)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct MailOptions {
    /// Exactly an address of `redirect_urls`.
    pub redirect_to: Option<String>,
}

/// An address that something is to be mailed to.
#[derive(Deserialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Mailbox {
    /// The address.
    pub email: String,
    /// Where the link leads.
    #[serde(default)]
    pub options: MailOptions,
    /// S256 of a secret of the app's own: then the link brings a code for `/token/exchange`.
    pub code_challenge: Option<String>,
}

impl Mailbox {
    fn landing<'a>(&'a self, cx: &'a Cx<Auth>) -> Result<Landing<'a>> {
        let redirect_to = self.options.redirect_to.as_deref();
        landing(cx, redirect_to, self.code_challenge.as_deref())
    }
}

/// The answer is the same for an address without an account.
pub(crate) async fn mail_reset(
    cx: Cx<Auth>,
    caller: Caller,
    Sent(sent): Sent<Mailbox>,
) -> Result<Answer<&'static str>> {
    answer(async {
        let sent = sent?;
        throttle::address(&cx, Action::Code, &caller).await?;
        let landing = sent.landing(&cx)?;
        new_password::mail_link(&cx, &sent.email, landing).await?;
        Ok(OK)
    })
    .await
}

/// The answer is the same for an address without an account, and for one that was proved.
pub(crate) async fn mail_proof(
    cx: Cx<Auth>,
    caller: Caller,
    Sent(sent): Sent<Mailbox>,
) -> Result<Answer<&'static str>> {
    answer(async {
        let sent = sent?;
        throttle::address(&cx, Action::Code, &caller).await?;
        let landing = sent.landing(&cx)?;
        address::mail_proof(&cx, &sent.email, landing).await?;
        Ok(OK)
    })
    .await
}

/// Another address.
#[derive(Deserialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewAddress {
    /// The other one.
    pub new_email: String,
    /// Where the link leads.
    #[serde(default)]
    pub options: MailOptions,
}

pub(crate) async fn change_email(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Sent(sent): Sent<NewAddress>,
) -> Result<Answer<&'static str>> {
    answer(async {
        let sent = sent?;
        throttle::address(&cx, Action::Code, &caller).await?;
        let redirect_to = sent.options.redirect_to.as_deref();
        // Its link signs nobody in, so there is nothing that a code would be for.
        let landing = landing(&cx, redirect_to, None)?;
        address::ask_to_change(&cx, &principal, &sent.new_email, landing).await?;
        Ok(OK)
    })
    .await
}

/// What answers.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Version {
    /// Of this plugin.
    pub version: &'static str,
}

pub(crate) async fn version(_: Cx<Auth>) -> Result<Json<Version>> {
    Ok(Json(Version {
        version: env!("CARGO_PKG_VERSION"),
    }))
}

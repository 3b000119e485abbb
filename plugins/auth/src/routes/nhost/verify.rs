//! `GET /verify`: where the links in mails lead that apps written for Nhost ask for.

use nself_plugin_api::prelude::*;
use serde::Deserialize;

use super::{
    provider::{found, told},
    words::words,
};
use crate::{
    Auth, address,
    caller::Caller,
    landing::{self, Ticket},
    mailbox, problem,
    proof::SignedIn,
    registration,
    throttle::{self, Action},
};

/// What a link carries.
#[derive(Deserialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Link {
    /// What it is for, and its secret.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub ticket: String,
    /// Where the app wants the person back.
    #[schema(max_length = 2000)]
    pub redirect_to: Option<String>,
    /// S256 of a secret of the app's own: then it is told a code for `/token/exchange`.
    #[schema(max_length = 43)]
    pub code_challenge: Option<String>,
}

/// What a link did.
enum Outcome {
    SignedIn(SignedIn),
    /// The holder of a new address is not asked in: whoever has mistyped it would give their account away.
    AddressChanged,
}

/// Does what the link is for and returns to the app, with a refresh token as hasura-auth does, or with what is wrong. It
/// never leads anywhere but to an address of the list.
pub(crate) async fn verify(
    cx: Cx<Auth>,
    caller: Caller,
    Query(link): Query<Link>,
) -> Result<Response> {
    let ticket = Ticket::read(&link.ticket);
    let kind = ticket.map_or("unknown", |(ticket, _)| ticket.kind());
    let (target, outcome) = match landing::allowed(&cx, link.redirect_to.as_deref()) {
        Ok(target) => (target, use_link(&cx, ticket, &caller).await),
        Err(error) => (landing::home(&cx), Err(error)),
    };
    let target = match outcome {
        Ok(Outcome::SignedIn(signed_in)) => {
            let (name, value) = told(&cx, signed_in, link.code_challenge.as_deref()).await?;
            landing::with_query(target, &[(name, &value), ("type", kind)])
        }
        Ok(Outcome::AddressChanged) => landing::with_query(target, &[("type", kind)]),
        Err(error) if error.status() >= 500 => return Err(error),
        Err(error) => {
            let (_, word, message) = words(&error);
            landing::with_query(target, &[("error", word), ("errorDescription", message)])
        }
    };
    found(&target)
}

async fn use_link(
    cx: &Cx<Auth>,
    ticket: Option<(Ticket, &str)>,
    caller: &Caller,
) -> Result<Outcome> {
    throttle::address(cx, Action::Code, caller).await?;
    let (ticket, token) = ticket.ok_or_else(problem::bad_code)?;
    match ticket {
        Ticket::VerifyEmail => registration::prove(cx, token, caller).await,
        // Whoever holds a reset link holds the mailbox; the app asks for the new password afterwards.
        Ticket::MagicLink | Ticket::ResetPassword => {
            mailbox::use_link(cx, ticket.purpose(), token, caller).await
        }
        Ticket::ChangeEmail => {
            address::change(cx, token, caller).await?;
            return Ok(Outcome::AddressChanged);
        }
    }
    .map(Outcome::SignedIn)
}

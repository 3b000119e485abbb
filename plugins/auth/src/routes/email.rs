//! `/auth/verify-email` and `/auth/email`: whose address it is.

use nself_plugin_api::prelude::*;

use super::{Accepted, Done, LinkToken, Mailbox, Private, done};
use crate::{
    Auth, address,
    caller::Caller,
    landing::Landing,
    proof::SignedIn,
    registration,
    throttle::{self, Action},
};

pub(crate) async fn verify(
    cx: Cx<Auth>,
    caller: Caller,
    Json(LinkToken { token }): Json<LinkToken>,
) -> Result<Private<SignedIn>> {
    throttle::address(&cx, Action::Code, &caller).await?;
    let signed_in = registration::prove(&cx, &token, &caller).await?;
    Ok(Private(signed_in))
}

pub(crate) async fn resend(
    cx: Cx<Auth>,
    caller: Caller,
    Json(Mailbox { email }): Json<Mailbox>,
) -> Result<Accepted> {
    throttle::address(&cx, Action::Code, &caller).await?;
    address::mail_proof(&cx, &email, Landing::Page).await?;
    Ok(Accepted("verification_mail_sent"))
}

pub(crate) async fn change(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Json(Mailbox { email }): Json<Mailbox>,
) -> Result<Accepted> {
    throttle::address(&cx, Action::Code, &caller).await?;
    address::ask_to_change(&cx, &principal, &email, Landing::Page).await?;
    Ok(Accepted("confirmation_mail_sent"))
}

pub(crate) async fn confirm(
    cx: Cx<Auth>,
    caller: Caller,
    Json(LinkToken { token }): Json<LinkToken>,
) -> Result<Private<Data<Done>>> {
    throttle::address(&cx, Action::Code, &caller).await?;
    address::change(&cx, &token, &caller).await?;
    Ok(done("email_changed"))
}

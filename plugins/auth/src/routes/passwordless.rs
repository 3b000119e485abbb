//! `/auth/magic-link` and `/auth/otp`: signing in by one's mailbox.

use nself_plugin_api::{http::StatusCode, prelude::*, serde_json::json};
use serde::Deserialize;
use uuid::Uuid;

use super::{Accepted, LinkToken, Mailbox, Private};
use crate::{
    Auth,
    caller::Caller,
    landing::Landing,
    mailbox,
    one_time::Purpose,
    proof::SignedIn,
    throttle::{self, Action},
};

pub(crate) async fn start_link(
    cx: Cx<Auth>,
    caller: Caller,
    Json(Mailbox { email }): Json<Mailbox>,
) -> Result<Accepted> {
    throttle::address(&cx, Action::Code, &caller).await?;
    mailbox::start_link(&cx, &email, Landing::Page).await?;
    Ok(Accepted("sign_in_mail_sent"))
}

pub(crate) async fn use_link(
    cx: Cx<Auth>,
    caller: Caller,
    Json(LinkToken { token }): Json<LinkToken>,
) -> Result<Private<SignedIn>> {
    throttle::address(&cx, Action::Code, &caller).await?;
    let signed_in = mailbox::use_link(&cx, Purpose::MagicLink, &token, &caller).await?;
    Ok(Private(signed_in))
}

/// 202 with the flow that the code belongs to. An address without an account gets a flow, too.
pub(crate) async fn start_code(
    cx: Cx<Auth>,
    caller: Caller,
    Json(Mailbox { email }): Json<Mailbox>,
) -> Result<Private<Response>> {
    throttle::address(&cx, Action::Code, &caller).await?;
    let flow_id = mailbox::start_code(&cx, &email, Purpose::EmailCode).await?;
    let body = json!({"data": {"status": "code_mail_sent", "flow_id": flow_id}});
    let answer = Response::new(StatusCode::ACCEPTED, body.to_string());
    Ok(Private(answer.content_type("application/json")))
}

/// A code, and the flow that asked for it.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MailedCode {
    /// From the answer of `start`.
    pub flow_id: Uuid,
    /// As it stands in the mail; spaces do not matter.
    #[schema(max_length = 32)]
    pub code: String,
    /// The family to act in; the last one without it.
    pub family_id: Option<Uuid>,
}

pub(crate) async fn use_code(
    cx: Cx<Auth>,
    caller: Caller,
    Json(mailed): Json<MailedCode>,
) -> Result<Private<SignedIn>> {
    throttle::address(&cx, Action::Code, &caller).await?;
    let (flow, family) = (mailed.flow_id, mailed.family_id);
    let signed_in =
        mailbox::use_code(&cx, Purpose::EmailCode, flow, &mailed.code, family, &caller).await?;
    Ok(Private(signed_in))
}

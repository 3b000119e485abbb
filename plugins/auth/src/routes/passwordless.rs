//! `/auth/magic-link` and `/auth/otp`: signing in by one's mailbox.

use nself_plugin_api::{
    capability::db::Transaction, http::StatusCode, prelude::*, serde_json::json,
};
use serde::Deserialize;
use uuid::Uuid;

use super::{Accepted, LinkToken, Mailbox, Private, email::take_over};
use crate::{
    Auth, account,
    caller::Caller,
    notify::{self, Mail},
    one_time::{self, Purpose, Subject, Used},
    problem,
    proof::{SignedIn, after_first_factor},
    store::accounts::{self, Account},
    throttle::{self, Action},
};

/// An account by its address, if it may sign in this way.
async fn reachable(cx: &Cx<Auth>, email: &str) -> Result<Option<Account>> {
    let account = accounts::find_by_email(&cx.db(), email).await?;
    Ok(account.filter(|account| account.is_active))
}

fn subject<'a>(purpose: Purpose, email: &'a str, account: Option<&Account>) -> Subject<'a> {
    Subject {
        purpose,
        target: email,
        user_id: account.map(|account| account.user.id),
        payload: json!({}),
    }
}

pub(crate) async fn start_link(
    cx: Cx<Auth>,
    caller: Caller,
    Json(Mailbox { email }): Json<Mailbox>,
) -> Result<Accepted> {
    throttle::address(&cx, Action::Code, &caller).await?;
    let email = account::email(&email)?;
    let account = reachable(&cx, &email).await?;
    let token = one_time::link(&cx, subject(Purpose::MagicLink, &email, account.as_ref())).await?;
    if let (Some(account), Some(token)) = (account, token)
        && throttle::may_mail(&cx, &email).await?
    {
        let mail = Mail {
            to: &email,
            template: "auth/magic-link",
            language: &account.user.locale,
            variables: json!({
                "name": account.user.display_name, "link": notify::page(&cx, "/auth/magic-link/verify", &token),
                "expires_minutes": Purpose::MagicLink.lifetime().as_mins(),
            }),
        };
        notify::send(&cx, mail);
    }
    Ok(Accepted("sign_in_mail_sent"))
}

pub(crate) async fn use_link(
    cx: Cx<Auth>,
    caller: Caller,
    Json(LinkToken { token }): Json<LinkToken>,
) -> Result<Private<SignedIn>> {
    throttle::address(&cx, Action::Code, &caller).await?;
    let transaction = cx.db().begin().await?;
    let (transaction, used) =
        one_time::use_link(&cx, transaction, Purpose::MagicLink, &token).await?;
    signed_in(&cx, transaction, &used, None, &caller).await
}

/// 202 with the flow that the code belongs to. An address without an account gets a flow, too.
pub(crate) async fn start_code(
    cx: Cx<Auth>,
    caller: Caller,
    Json(Mailbox { email }): Json<Mailbox>,
) -> Result<Private<Response>> {
    throttle::address(&cx, Action::Code, &caller).await?;
    let email = account::email(&email)?;
    let account = reachable(&cx, &email).await?;
    let made = one_time::code(&cx, subject(Purpose::EmailCode, &email, account.as_ref())).await?;
    // When the tries are used up there is no code, and the flow that is named is nobody's.
    let flow_id = made.as_ref().map_or_else(Uuid::now_v7, |(flow, _)| *flow);
    if let (Some(account), Some((_, code))) = (account, made)
        && throttle::may_mail(&cx, &email).await?
    {
        let mail = Mail {
            to: &email,
            template: "auth/otp",
            language: &account.user.locale,
            variables: json!({
                "name": account.user.display_name, "code": code,
                "expires_minutes": Purpose::EmailCode.lifetime().as_mins(),
            }),
        };
        notify::send(&cx, mail);
    }
    let body = json!({"data": {"status": "code_mail_sent", "flow_id": flow_id}});
    let answer = Response::new(StatusCode::ACCEPTED, body.to_string());
    Ok(Private(answer.content_type("application/json")))
}

/// A code, and the flow that asked for it.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Code {
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
    Json(code): Json<Code>,
) -> Result<Private<SignedIn>> {
    throttle::address(&cx, Action::Code, &caller).await?;
    let transaction = cx.db().begin().await?;
    let (transaction, used) = one_time::use_code(
        &cx,
        transaction,
        Purpose::EmailCode,
        code.flow_id,
        &code.code,
    )
    .await?;
    signed_in(&cx, transaction, &used, code.family_id, &caller).await
}

/// Signs in who has shown that the mailbox is theirs. If the account's address was not proved before, it is now, and what
/// others put into the account is gone.
async fn signed_in(
    cx: &Cx<Auth>,
    transaction: Transaction,
    used: &Used,
    family: Option<Uuid>,
    caller: &Caller,
) -> Result<Private<SignedIn>> {
    let now = cx.clock().now()?;
    let user_id = used.user_id.ok_or_else(problem::bad_code)?;
    let account = accounts::find_by_id(&transaction, user_id)
        .await?
        .filter(|account| account.is_active && account.user.email.as_deref() == Some(&used.target))
        .ok_or_else(problem::bad_code)?;
    if !account.user.is_email_verified {
        take_over(&transaction, user_id, now).await?;
        accounts::verify_email(&transaction, user_id, &used.target, now).await?;
    }
    transaction.commit().await?;
    // Read again: taking over has taken the second factor of whoever was there before.
    let account = accounts::find_by_id(&cx.db(), user_id)
        .await?
        .ok_or_else(problem::bad_code)?;
    let signed_in = after_first_factor(cx, &account, "otp", family, caller).await?;
    Ok(Private(signed_in))
}

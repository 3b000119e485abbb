//! Signing in by one's mailbox: a link or a code that is mailed there.

use nself_plugin_api::{capability::db::Transaction, prelude::*, serde_json::json};
use uuid::Uuid;

use crate::{
    Auth, account,
    caller::Caller,
    landing::{Landing, Ticket},
    notify::{self, Mail},
    one_time::{self, Purpose, Subject, Used},
    problem,
    proof::{SignedIn, after_first_factor},
    registration::{self, take_over},
    store::accounts::{self, Account},
    throttle,
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

/// Mails a link that signs in, to an address that has an account. Nothing tells whether it has one.
pub(crate) async fn start_link(cx: &Cx<Auth>, email: &str, landing: Landing<'_>) -> Result<()> {
    let email = account::email(email)?;
    // Before the link: one that is not mailed must not take the place of one that was.
    if !throttle::may_mail(cx, &email).await? {
        return Ok(());
    }
    let account = reachable(cx, &email).await?;
    let transaction = cx.db().begin().await?;
    let subject = subject(Purpose::MagicLink, &email, account.as_ref());
    let token = one_time::link(cx, &transaction, subject).await?;
    if let (Some(account), Some(token)) = (account, token) {
        let mail = Mail {
            to: &email,
            template: "auth/magic-link",
            language: &account.user.locale,
            variables: json!({
                "name": account.user.display_name,
                "link": landing.link(cx, Ticket::MagicLink, &token),
                "expires_minutes": Purpose::MagicLink.lifetime().as_mins(),
            }),
        };
        notify::post(&transaction, &mail).await?;
    } else {
        notify::post_to_nobody(&transaction).await?;
    }
    transaction.commit().await
}

/// Mails a code that signs in; the flow that it belongs to. An address without an account gets a flow, too.
pub(crate) async fn start_code(cx: &Cx<Auth>, email: &str, purpose: Purpose) -> Result<Uuid> {
    let email = account::email(email)?;
    // When there is no mail, or the tries are used up, there is no code, and the flow that is named is nobody's.
    if !throttle::may_mail(cx, &email).await? {
        return Ok(Uuid::now_v7());
    }
    let account = reachable(cx, &email).await?;
    let transaction = cx.db().begin().await?;
    let subject = subject(purpose, &email, account.as_ref());
    let made = one_time::code(cx, &transaction, subject).await?;
    let flow_id = made.as_ref().map_or_else(Uuid::now_v7, |(flow, _)| *flow);
    if let (Some(account), Some((_, code))) = (account, made) {
        let (name, language) = (&account.user.display_name, &account.user.locale);
        let mail = code_mail(purpose, &email, name, language, &code);
        notify::post(&transaction, &mail).await?;
    } else {
        notify::post_to_nobody(&transaction).await?;
    }
    transaction.commit().await?;
    Ok(flow_id)
}

pub(crate) fn code_mail<'a>(
    purpose: Purpose,
    to: &'a str,
    name: &str,
    language: &'a str,
    code: &str,
) -> Mail<'a> {
    Mail {
        to,
        template: "auth/otp",
        language,
        variables: json!({
            "name": name, "code": code, "expires_minutes": purpose.lifetime().as_mins(),
        }),
    }
}

/// Signs in by the code of a flow.
///
/// # Errors
///
/// `CODE_INVALID`.
pub(crate) async fn use_code(
    cx: &Cx<Auth>,
    purpose: Purpose,
    flow: Uuid,
    code: &str,
    family: Option<Uuid>,
    caller: &Caller,
) -> Result<SignedIn> {
    let transaction = cx.db().begin().await?;
    let (transaction, used) = one_time::use_code(cx, transaction, purpose, flow, code).await?;
    signed_in(cx, transaction, used, family, caller).await
}

/// Signs in by a link.
///
/// # Errors
///
/// `CODE_INVALID`.
pub(crate) async fn use_link(
    cx: &Cx<Auth>,
    purpose: Purpose,
    token: &str,
    caller: &Caller,
) -> Result<SignedIn> {
    let transaction = cx.db().begin().await?;
    let (transaction, used) = one_time::use_link(cx, transaction, purpose, token).await?;
    signed_in(cx, transaction, used, None, caller).await
}

/// Signs in who has shown that the mailbox is theirs. If the account's address was not proved before, it is now, and what
/// others put into the account is gone; an account that has waited for the proof begins.
async fn signed_in(
    cx: &Cx<Auth>,
    transaction: Transaction,
    used: Used,
    family: Option<Uuid>,
    caller: &Caller,
) -> Result<SignedIn> {
    let user_id = match used.user_id {
        Some(user_id) => {
            prove(cx, &transaction, user_id, &used.target).await?;
            user_id
        }
        None => registration::make_waiting(cx, &transaction, used.payload).await?,
    };
    transaction.commit().await?;
    // Read again: taking over has taken the second factor of whoever was there before.
    let account = accounts::find_by_id(&cx.db(), user_id)
        .await?
        .ok_or_else(problem::bad_code)?;
    after_first_factor(cx, &account, "otp", family, caller).await
}

async fn prove(cx: &Cx<Auth>, transaction: &Transaction, user_id: Uuid, email: &str) -> Result<()> {
    let now = cx.clock().now()?;
    let account = accounts::find_by_id(transaction, user_id)
        .await?
        .filter(|account| account.is_active && account.user.email.as_deref() == Some(email))
        .ok_or_else(problem::bad_code)?;
    if !account.user.is_email_verified {
        take_over(transaction, user_id, now).await?;
        accounts::verify_email(transaction, user_id, email, now).await?;
    }
    Ok(())
}

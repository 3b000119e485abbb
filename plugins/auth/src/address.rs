//! Whose address it is: proofs that are mailed again, and other addresses.

use nself_plugin_api::{prelude::*, serde_json::json};

use crate::{
    Auth, account,
    caller::Caller,
    landing::{Landing, Ticket},
    notify::{self, Mail},
    one_time::{self, Purpose, Subject},
    problem, session,
    store::accounts,
    throttle,
};

/// Mails the link of an account that waits for its proof once more. Nothing tells whether there is one.
pub(crate) async fn mail_proof(cx: &Cx<Auth>, email: &str, landing: Landing<'_>) -> Result<()> {
    let email = account::email(email)?;
    let account = accounts::find_by_email(&cx.db(), &email).await?;
    let account = account.filter(|account| account.is_active && !account.user.is_email_verified);
    if !throttle::may_mail(cx, &email).await? {
        return Ok(());
    }
    let transaction = cx.db().begin().await?;
    let Some(account) = account else {
        notify::post_to_nobody(&transaction).await?;
        return transaction.commit().await;
    };
    let subject = Subject {
        purpose: Purpose::VerifyEmail,
        target: &email,
        user_id: Some(account.user.id),
        payload: json!({"email": email}),
    };
    if let Some(token) = one_time::link(cx, &transaction, subject).await? {
        let mail = Mail {
            to: &email,
            template: "auth/verify-email",
            language: &account.user.locale,
            variables: json!({
                "name": account.user.display_name,
                "link": landing.link(cx, Ticket::VerifyEmail, &token),
                "expires_minutes": Purpose::VerifyEmail.lifetime().as_mins(),
            }),
        };
        notify::post(&transaction, &mail).await?;
    }
    transaction.commit().await
}

/// Asks for another address: the link goes there, and the change happens when it is used.
///
/// # Errors
///
/// `STEP_UP_REQUIRED`; `EMAIL_INVALID`; `SESSION_REVOKED`.
pub(crate) async fn ask_to_change(
    cx: &Cx<Auth>,
    principal: &Principal,
    email: &str,
    landing: Landing<'_>,
) -> Result<()> {
    let user_id = principal.user()?;
    let account = accounts::find_by_id(&cx.db(), user_id)
        .await?
        .ok_or_else(problem::session_ended)?;
    if account.user.is_child() {
        return Err(problem::child_account());
    }
    if !principal.elevated {
        return Err(problem::step_up());
    }
    let email = account::email(email)?;
    let is_taken = accounts::find_by_email(&cx.db(), &email).await?.is_some();
    let target = user_id.to_string();
    let subject = Subject {
        purpose: Purpose::ChangeEmail,
        target: &target,
        user_id: Some(user_id),
        payload: json!({"email": email}),
    };
    let transaction = cx.db().begin().await?;
    let token = one_time::link(cx, &transaction, subject).await?;
    session::must_go_on(&transaction, principal).await?;
    if !throttle::may_mail(cx, &email).await? {
        return transaction.commit().await;
    }
    if let Some(token) = token.filter(|_| !is_taken) {
        let mail = Mail {
            to: &email,
            template: "auth/change-email",
            language: &account.user.locale,
            variables: json!({
                "name": account.user.display_name,
                "link": landing.link(cx, Ticket::ChangeEmail, &token),
                "expires_minutes": Purpose::ChangeEmail.lifetime().as_mins(),
            }),
        };
        notify::post(&transaction, &mail).await?;
    } else {
        notify::post_to_nobody(&transaction).await?;
    }
    transaction.commit().await
}

/// Changes the address, by the link that was mailed to the new one.
///
/// # Errors
///
/// `CODE_INVALID`, also when somebody has the address by now.
pub(crate) async fn change(cx: &Cx<Auth>, token: &str, caller: &Caller) -> Result<()> {
    let now = cx.clock().now()?;
    let transaction = cx.db().begin().await?;
    let (transaction, used) =
        one_time::use_link(cx, transaction, Purpose::ChangeEmail, token).await?;
    let user_id = used.user_id.ok_or_else(problem::bad_code)?;
    let before = accounts::find_by_id(&transaction, user_id)
        .await?
        .ok_or_else(problem::bad_code)?;
    let email = used.payload["email"].as_str().unwrap_or_default();
    if !accounts::change_email(&transaction, user_id, email, now).await? {
        return Err(problem::bad_code());
    }
    let details = json!({"from": before.user.email, "to": email});
    accounts::audit(&transaction, "auth.email_changed", user_id, &details).await?;
    // The old address hears of it: if that was a thief, its owner must know.
    notify::of_change(cx, &transaction, &before.user, "auth/email-changed", caller).await?;
    transaction.commit().await
}

//! `/auth/verify-email` and `/auth/email`: whose address it is.

use nself_plugin_api::{capability::db::Transaction, prelude::*, serde_json::json};
use serde::Deserialize;
use uuid::Uuid;

use super::{Accepted, Done, LinkToken, Mailbox, Private, done};
use crate::{
    Auth, SignUp, account,
    caller::Caller,
    invitation::Invited,
    notify::{self, Mail},
    one_time::{self, Purpose, Subject},
    problem,
    proof::{SignedIn, after_first_factor},
    store::{accounts, sessions},
    throttle::{self, Action},
};

/// What a registration that waits for its address carries.
#[derive(Deserialize)]
struct Waiting {
    email: String,
    display_name: String,
    locale: String,
    password_hash: String,
}

/// Proves an address, and signs in: whoever holds the link holds the mailbox.
pub(crate) async fn verify(
    cx: Cx<Auth>,
    caller: Caller,
    Json(LinkToken { token }): Json<LinkToken>,
) -> Result<Private<SignedIn>> {
    throttle::address(&cx, Action::Code, &caller).await?;
    let now = cx.clock().now()?;
    let transaction = cx.db().begin().await?;
    let (transaction, used) =
        one_time::use_link(&cx, transaction, Purpose::VerifyEmail, &token).await?;
    let invited = Invited::read(&used.payload);
    let is_new = used.user_id.is_none();
    let user_id = match used.user_id {
        Some(user_id) => {
            let email = used.payload["email"].as_str().unwrap_or_default();
            accounts::verify_email(&transaction, user_id, email, now).await?;
            accounts::audit(&transaction, "auth.email_verified", user_id, &json!({})).await?;
            user_id
        }
        None => {
            let waiting: Waiting =
                nself_plugin_api::serde_json::from_value(used.payload).map_err(Error::internal)?;
            make_account(&cx, &transaction, &waiting).await?
        }
    };
    if let Some(invited) = invited {
        let may_do_without = !is_new || cx.plugin().config.sign_up != SignUp::Closed;
        invited
            .join_on_proof(&transaction, user_id, may_do_without, now)
            .await?;
    }
    transaction.commit().await?;
    let account = accounts::find_by_id(&cx.db(), user_id)
        .await?
        .ok_or_else(problem::bad_code)?;
    let signed_in = after_first_factor(&cx, &account, "otp", None, &caller).await?;
    Ok(Private(signed_in))
}

/// Makes the account of a registration whose address is proved now. An account that somebody else had made with the
/// address and never proved is taken over, without anything that they put into it.
async fn make_account(cx: &Cx<Auth>, transaction: &Transaction, waiting: &Waiting) -> Result<Uuid> {
    let now = cx.clock().now()?;
    let email = waiting.email.as_str();
    let user = accounts::insert(
        transaction,
        Some(email),
        &waiting.display_name,
        &waiting.locale,
    )
    .await?;
    let user_id = match user {
        Some(user) => {
            accounts::announce(transaction, &user).await?;
            user.id
        }
        None => {
            let taken = accounts::find_by_email(transaction, email).await?;
            let taken = taken
                .filter(|account| !account.user.is_email_verified && account.is_active)
                .ok_or_else(problem::bad_code)?;
            take_over(transaction, taken.user.id, now).await?;
            taken.user.id
        }
    };
    accounts::verify_email(transaction, user_id, email, now).await?;
    accounts::set_password(transaction, user_id, &waiting.password_hash, now).await?;
    accounts::audit(transaction, "auth.email_verified", user_id, &json!({})).await?;
    Ok(user_id)
}

/// Empties an account whose address was never proved, for the one who proves it.
pub(crate) async fn take_over(
    transaction: &Transaction,
    user_id: Uuid,
    now: nself_plugin_api::jiff::Timestamp,
) -> Result<()> {
    accounts::strip(transaction, user_id).await?;
    sessions::revoke_others(transaction, user_id, None, "taken_over", now).await?;
    accounts::audit(
        transaction,
        "auth.unproved_access_removed",
        user_id,
        &json!({}),
    )
    .await
}

/// Mails the link of an account that waits for its proof once more. The answer is the same when there is none.
pub(crate) async fn resend(
    cx: Cx<Auth>,
    caller: Caller,
    Json(Mailbox { email }): Json<Mailbox>,
) -> Result<Accepted> {
    throttle::address(&cx, Action::Code, &caller).await?;
    let email = account::email(&email)?;
    let account = accounts::find_by_email(&cx.db(), &email).await?;
    let account = account.filter(|account| account.is_active && !account.user.is_email_verified);
    if let Some(account) = account
        && throttle::may_mail(&cx, &email).await?
    {
        let subject = Subject {
            purpose: Purpose::VerifyEmail,
            target: &email,
            user_id: Some(account.user.id),
            payload: json!({"email": email}),
        };
        if let Some(token) = one_time::link(&cx, subject).await? {
            let mail = Mail {
                to: &email,
                template: "auth/verify-email",
                language: &account.user.locale,
                variables: json!({
                    "name": account.user.display_name, "link": notify::page(&cx, "/auth/verify-email", &token),
                    "expires_minutes": Purpose::VerifyEmail.lifetime().as_mins(),
                }),
            };
            notify::send(&cx, mail);
        }
    }
    Ok(Accepted("verification_mail_sent"))
}

/// Asks for another address: the link goes there, and the change happens when it is used.
pub(crate) async fn change(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Json(Mailbox { email }): Json<Mailbox>,
) -> Result<Accepted> {
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
    throttle::address(&cx, Action::Code, &caller).await?;
    let email = account::email(&email)?;
    let is_taken = accounts::find_by_email(&cx.db(), &email).await?.is_some();
    let target = user_id.to_string();
    let subject = Subject {
        purpose: Purpose::ChangeEmail,
        target: &target,
        user_id: Some(user_id),
        payload: json!({"email": email}),
    };
    let token = one_time::link(&cx, subject).await?;
    if let Some(token) = token.filter(|_| !is_taken)
        && throttle::may_mail(&cx, &email).await?
    {
        let mail = Mail {
            to: &email,
            template: "auth/change-email",
            language: &account.user.locale,
            variables: json!({
                "name": account.user.display_name, "link": notify::page(&cx, "/auth/email/confirm", &token),
                "expires_minutes": Purpose::ChangeEmail.lifetime().as_mins(),
            }),
        };
        notify::send(&cx, mail);
    }
    Ok(Accepted("confirmation_mail_sent"))
}

pub(crate) async fn confirm(
    cx: Cx<Auth>,
    caller: Caller,
    Json(LinkToken { token }): Json<LinkToken>,
) -> Result<Private<Data<Done>>> {
    throttle::address(&cx, Action::Code, &caller).await?;
    let now = cx.clock().now()?;
    let transaction = cx.db().begin().await?;
    let (transaction, used) =
        one_time::use_link(&cx, transaction, Purpose::ChangeEmail, &token).await?;
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
    transaction.commit().await?;
    // The old address hears of it: if that was a thief, its owner must know.
    notify::of_change(&cx, &before.user, "auth/email-changed", &caller);
    Ok(done("email_changed"))
}

//! `/auth/password`.

use nself_plugin_api::{
    capability::{crypto::PasswordCheck, db::Transaction},
    prelude::*,
    serde_json::json,
};
use serde::Deserialize;

use super::{Accepted, Done, Mailbox, Private, done, email::take_over};
use crate::{
    Auth, account,
    account::User,
    caller::Caller,
    notify::{self, Mail},
    one_time::{self, Purpose, Subject},
    password::{self, Context},
    problem,
    store::{accounts, sessions},
    throttle::{self, Action},
};

/// Mails a link that sets a new password. The answer is the same for an address without an account.
pub(crate) async fn forgot(
    cx: Cx<Auth>,
    caller: Caller,
    Json(Mailbox { email }): Json<Mailbox>,
) -> Result<Accepted> {
    throttle::address(&cx, Action::Code, &caller).await?;
    let email = account::email(&email)?;
    let account = accounts::find_by_email(&cx.db(), &email).await?;
    let account = account.filter(|account| account.is_active);
    let subject = Subject {
        purpose: Purpose::ResetPassword,
        target: &email,
        user_id: account.as_ref().map(|account| account.user.id),
        payload: json!({}),
    };
    // Made for an unknown address, too: it costs the same, and leads nowhere.
    let token = one_time::link(&cx, subject).await?;
    if let (Some(account), Some(token)) = (account, token)
        && throttle::may_mail(&cx, &email).await?
    {
        let mail = Mail {
            to: &email,
            template: "auth/reset-password",
            language: &account.user.locale,
            variables: json!({
                "name": account.user.display_name, "link": notify::page(&cx, "/auth/password/reset", &token),
                "expires_minutes": Purpose::ResetPassword.lifetime().as_mins(),
            }),
        };
        notify::send(&cx, mail);
    }
    Ok(Accepted("reset_mail_sent"))
}

/// A new password, by a link.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reset {
    /// As it stands in the link.
    #[schema(max_length = 200)]
    pub token: String,
    /// The new password.
    #[schema(max_length = 512)]
    pub password: String,
}

/// Sets a new password, ends every session, and proves the address on the way. The second factor stays what it was.
pub(crate) async fn reset(
    cx: Cx<Auth>,
    caller: Caller,
    Json(reset): Json<Reset>,
) -> Result<Private<Data<Done>>> {
    throttle::address(&cx, Action::Code, &caller).await?;
    // Checked before the link is used up: a password that is refused must not cost the link.
    let hash = hash(&cx, &reset.password, None).await?;
    let now = cx.clock().now()?;
    let transaction = cx.db().begin().await?;
    let (transaction, used) =
        one_time::use_link(&cx, transaction, Purpose::ResetPassword, &reset.token).await?;
    let user_id = used.user_id.ok_or_else(problem::bad_code)?;
    let account = accounts::find_by_id(&transaction, user_id)
        .await?
        .filter(|account| account.is_active && account.user.email.as_deref() == Some(&used.target))
        .ok_or_else(problem::bad_code)?;
    if !account.user.is_email_verified {
        take_over(&transaction, user_id, now).await?;
        accounts::verify_email(&transaction, user_id, &used.target, now).await?;
    }
    store(&transaction, &account.user, &hash, now).await?;
    sessions::revoke_others(&transaction, user_id, None, "password", now).await?;
    transaction.commit().await?;
    notify::of_change(&cx, &account.user, "auth/password-changed", &caller);
    Ok(done("password_changed"))
}

/// A new password, by the old one.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    /// The old one; an account that has none needs a fresh proof of another kind.
    #[schema(max_length = 512)]
    pub current_password: Option<String>,
    /// The new one.
    #[schema(max_length = 512)]
    pub password: String,
}

/// Sets a new password and signs out everywhere else.
pub(crate) async fn change(
    cx: Cx<Auth>,
    principal: Principal,
    caller: Caller,
    Json(change): Json<Change>,
) -> Result<Private<Data<Done>>> {
    let user_id = principal.user()?;
    throttle::account(&cx, Action::SignIn, &user_id.to_string(), &caller, true).await?;
    let account = accounts::find_by_id(&cx.db(), user_id)
        .await?
        .ok_or_else(problem::session_ended)?;
    match (&account.password, &change.current_password) {
        (Some(stored), Some(current)) => {
            let current = password::normalized(current);
            if cx.crypto().verify_password(&current, stored).await? == PasswordCheck::Wrong {
                return Err(problem::bad_credentials());
            }
        }
        (None, _) if principal.elevated => {}
        _ => return Err(problem::step_up()),
    }
    let hash = hash(&cx, &change.password, Some(&account.user)).await?;
    let now = cx.clock().now()?;
    let transaction = cx.db().begin().await?;
    store(&transaction, &account.user, &hash, now).await?;
    sessions::revoke_others(&transaction, user_id, principal.session_id, "password", now).await?;
    transaction.commit().await?;
    notify::of_change(&cx, &account.user, "auth/password-changed", &caller);
    Ok(done("password_changed"))
}

async fn hash(cx: &Cx<Auth>, password: &str, user: Option<&User>) -> Result<String> {
    let context = Context {
        email: user.and_then(|user| user.email.as_deref()),
        name: user.map(|user| user.display_name.as_str()),
    };
    let length_min = cx.plugin().config.password_length_min;
    let password = password::accept(password, length_min, context)?;
    cx.crypto().hash_password(&password).await
}

async fn store(
    transaction: &Transaction,
    user: &User,
    hash: &str,
    now: nself_plugin_api::jiff::Timestamp,
) -> Result<()> {
    accounts::set_password(transaction, user.id, hash, now).await?;
    // What was begun with the old password ends with it.
    for purpose in [Purpose::ResetPassword, Purpose::SecondFactor] {
        crate::store::one_time::cancel(transaction, user.id, purpose.name(), now).await?;
    }
    accounts::audit(transaction, "auth.password_changed", user.id, &json!({})).await
}

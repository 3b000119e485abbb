//! New passwords: by the old one, by a fresh proof, or by a link.

use nself_plugin_api::{
    capability::{crypto::PasswordCheck, db::Transaction},
    jiff::Timestamp,
    prelude::*,
    serde_json::json,
};

use crate::{
    Auth, account,
    account::User,
    caller::Caller,
    failed_proof::{self, Way},
    landing::{Landing, Ticket},
    notify::{self, Mail},
    one_time::{self, Purpose, Subject},
    password::{self, Context},
    problem,
    registration::take_over,
    session,
    store::{
        accounts, api_tokens,
        sessions::{self, End},
    },
    throttle::{self, Action, Tried},
};

/// What the audit log says of a new password, once the sessions are ended that it ends.
const CHANGED: &str = "auth.password_changed";

/// Mails a link that sets a new password, to an address that has an account. Nothing tells whether it has one.
pub(crate) async fn mail_link(cx: &Cx<Auth>, email: &str, landing: Landing<'_>) -> Result<()> {
    let email = account::email(email)?;
    let transaction = cx.db().begin().await?;
    mail_link_in(cx, &transaction, &email, landing).await?;
    transaction.commit().await
}

/// As [`mail_link`], in the transaction of its cause.
pub(crate) async fn mail_link_in(
    cx: &Cx<Auth>,
    transaction: &Transaction,
    email: &str,
    landing: Landing<'_>,
) -> Result<()> {
    // Before the link: one that is not mailed must not take the place of one that was.
    if !throttle::may_mail(cx, email).await? {
        return Ok(());
    }
    let account = accounts::find_by_email(transaction, email).await?;
    let account = account.filter(|account| account.is_active);
    let subject = Subject {
        purpose: Purpose::ResetPassword,
        target: email,
        user_id: account.as_ref().map(|account| account.user.id),
        payload: json!({}),
    };
    // Made for an unknown address, too: it costs the same, and leads nowhere.
    let token = one_time::link(cx, transaction, subject).await?;
    if let (Some(account), Some(token)) = (account, token) {
        let mail = Mail {
            to: email,
            template: "auth/reset-password",
            language: &account.user.locale,
            variables: json!({
                "name": account.user.display_name,
                "link": landing.link(cx, Ticket::ResetPassword, &token),
                "expires_minutes": Purpose::ResetPassword.lifetime().as_mins(),
            }),
        };
        notify::post(transaction, &mail).await
    } else {
        notify::post_to_nobody(transaction).await
    }
}

/// Sets a new password by a link, ends every session and every token for scripts, and proves the address on the way. The
/// second factor stays what it was.
///
/// # Errors
///
/// What is wrong with the password; `CODE_INVALID`.
pub(crate) async fn by_link(
    cx: &Cx<Auth>,
    token: &str,
    password: &str,
    caller: &Caller,
) -> Result<()> {
    // Checked before the link is used up: a password that is refused must not cost the link.
    let hash = hash(cx, password, None).await?;
    let now = cx.clock().now()?;
    let transaction = cx.db().begin().await?;
    let (transaction, used) =
        one_time::use_link(cx, transaction, Purpose::ResetPassword, token).await?;
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
    sessions::revoke_others(&transaction, user_id, None, End::of("password", now)).await?;
    accounts::audit(&transaction, CHANGED, user_id, &json!({})).await?;
    // Whoever had the account until now may have made some.
    api_tokens::revoke_all(&transaction, user_id, now).await?;
    notify::of_change(
        cx,
        &transaction,
        &account.user,
        "auth/password-changed",
        caller,
    )
    .await?;
    transaction.commit().await
}

/// What stands for the right to set a new password.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Right<'a> {
    /// The password so far; an account that has none needs a fresh proof of another kind.
    Current(Option<&'a str>),
    /// A fresh proof of any kind.
    Fresh,
}

/// Sets a new password and signs out everywhere else.
///
/// # Errors
///
/// `CREDENTIALS_INVALID`; `STEP_UP_REQUIRED`; `ACCOUNT_ANONYMOUS`; `SESSION_REVOKED`; what is wrong with the new one.
pub(crate) async fn change(
    cx: &Cx<Auth>,
    principal: &Principal,
    right: Right<'_>,
    password: &str,
    caller: &Caller,
) -> Result<()> {
    let user_id = principal.user()?;
    let tried = Tried::account(user_id, true);
    throttle::account(cx, Action::SignIn, &tried, caller).await?;
    let account = accounts::find_by_id(&cx.db(), user_id)
        .await?
        .ok_or_else(problem::session_ended)?;
    if account.user.is_child() {
        return Err(problem::child_account());
    }
    if account.user.is_anonymous {
        return Err(problem::anonymous());
    }
    match (&account.password, right) {
        (Some(stored), Right::Current(Some(current))) => {
            if password::verify(cx, current, stored).await? == PasswordCheck::Wrong {
                let way = Way::PasswordChange;
                failed_proof::note(cx, &cx.db(), Some(user_id), way, caller).await?;
                return Err(problem::bad_credentials());
            }
        }
        (None, _) | (_, Right::Fresh) if principal.elevated => {}
        _ => return Err(problem::step_up()),
    }
    let hash = hash(cx, password, Some(&account.user)).await?;
    let now = cx.clock().now()?;
    let transaction = cx.db().begin().await?;
    store(&transaction, &account.user, &hash, now).await?;
    session::must_go_on(&transaction, principal).await?;
    let (kept, end) = (principal.session_id, End::of("password", now));
    sessions::revoke_others(&transaction, user_id, kept, end).await?;
    accounts::audit(&transaction, CHANGED, user_id, &json!({})).await?;
    notify::of_change(
        cx,
        &transaction,
        &account.user,
        "auth/password-changed",
        caller,
    )
    .await?;
    transaction.commit().await
}

async fn hash(cx: &Cx<Auth>, password: &str, user: Option<&User>) -> Result<String> {
    let context = Context {
        email: user.and_then(|user| user.email.as_deref()),
        name: user.map(|user| user.display_name.as_str()),
    };
    password::hash_new(cx, password, context).await
}

async fn store(transaction: &Transaction, user: &User, hash: &str, now: Timestamp) -> Result<()> {
    accounts::set_password(transaction, user.id, hash, now).await?;
    // What was begun by whoever had the old password ends with it.
    for purpose in [
        Purpose::ResetPassword,
        Purpose::SecondFactor,
        Purpose::ChangeEmail,
    ] {
        crate::store::one_time::cancel(transaction, user.id, purpose.name(), now).await?;
    }
    Ok(())
}

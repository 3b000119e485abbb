//! Signing in by address and password.

use nself_plugin_api::{capability::crypto::PasswordCheck, prelude::*};
use uuid::Uuid;

use crate::{
    Auth, account,
    caller::Caller,
    failed_proof::{self, Way},
    password, problem,
    proof::{SignedIn, after_first_factor},
    store::accounts::{self, Account},
    throttle::{self, Action, Tried},
};

/// Signs in, or asks for the second factor.
///
/// # Errors
///
/// `TOO_MANY_TRIES`; `CREDENTIALS_INVALID`, the same for every reason.
pub(crate) async fn sign_in(
    cx: &Cx<Auth>,
    email: &str,
    password: &str,
    family: Option<Uuid>,
    caller: &Caller,
) -> Result<SignedIn> {
    throttle::address(cx, Action::SignIn, caller).await?;
    let email = account::email(email).map_err(|_| problem::bad_credentials())?;
    let account = accounts::find_by_email(&cx.db(), &email).await?;
    let is_known_pair = match &account {
        Some(account) => throttle::is_known_pair(cx, account.user.id, caller).await?,
        None => false,
    };
    let user_id = account.as_ref().map(|account| account.user.id);
    let tried = Tried::address(&email, user_id, is_known_pair);
    throttle::account(cx, Action::SignIn, &tried, caller).await?;
    let account = check(cx, account, password, Way::SignIn, caller).await?;
    after_first_factor(cx, &account, "pwd", family, caller).await
}

/// What the password of an unknown account is compared with, so that it takes as long as a known one's: the parameters of the
/// host's new hashes, and random bytes for salt and hash. Nobody knows a password for it, and it lets nobody in.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$+sagVCXPTuyKzwTc8miXqg$t40gyH3fRcG4gMgrBqh5Dtw0Xu1bLVerf0Yg/t8ibLU";

/// The account, if the password is its. An account that is not there takes as long as one that is.
pub(crate) async fn check(
    cx: &Cx<Auth>,
    account: Option<Account>,
    password: &str,
    way: Way,
    caller: &Caller,
) -> Result<Account> {
    let user_id = account.as_ref().map(|account| account.user.id);
    if let Some(account) = right(cx, account, password).await? {
        return Ok(account);
    }
    failed_proof::note(cx, &cx.db(), user_id, way, caller).await?;
    Err(problem::bad_credentials())
}

async fn right(cx: &Cx<Auth>, account: Option<Account>, password: &str) -> Result<Option<Account>> {
    let stored = account
        .as_ref()
        .and_then(|account| account.password.as_deref())
        .unwrap_or(NOBODYS);
    let checked = password::verify(cx, password, stored).await?;
    let account = account.filter(|account| account.is_active && account.password.is_some());
    let Some(account) = account else {
        return Ok(None);
    };
    match checked {
        PasswordCheck::Wrong => Ok(None),
        PasswordCheck::Right => Ok(Some(account)),
        PasswordCheck::RightAndOutdated => {
            let password = password::normalized(password);
            let stronger = cx.crypto().hash_password(&password).await?;
            let outdated = account.password.as_deref().unwrap_or_default();
            accounts::rehash(&cx.db(), account.user.id, outdated, &stronger).await?;
            Ok(Some(account))
        }
    }
}

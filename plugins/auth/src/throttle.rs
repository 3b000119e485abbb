//! Counts tries: per address, per account and per pair, over all hosts.
//!
//! A stranger who tries one account from everywhere fills the account's bucket and shuts out other strangers, but never
//! the owner: whoever has signed in from an address before has the pair's bucket to themselves.

use std::time::Duration;

use nself_plugin_api::{jiff::SignedDuration, prelude::*};
use uuid::Uuid;

use crate::{Auth, caller::Caller, problem, store::sessions};

/// How long an address is remembered as one that somebody signs in from.
const KNOWN_FOR: SignedDuration = SignedDuration::from_hours(90 * 24);

/// A bucket: so many tries, and the time in which an empty one fills.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    tries: u32,
    period: Duration,
}

const PER_ADDRESS: Bucket = Bucket {
    tries: 60,
    period: Duration::from_secs(5 * 60),
};
const PER_ACCOUNT: Bucket = Bucket {
    tries: 10,
    period: Duration::from_secs(15 * 60),
};
const PER_PAIR: Bucket = Bucket {
    tries: 10,
    period: Duration::from_secs(5 * 60),
};
/// Mails to one address, whoever asks for them.
const PER_MAILBOX: Bucket = Bucket {
    tries: 5,
    period: Duration::from_secs(15 * 60),
};

/// What is tried: buckets of different actions do not empty one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    SignIn,
    SignUp,
    Code,
    SecondFactor,
}

impl Action {
    const fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::SignUp => "sign-up",
            Self::Code => "code",
            Self::SecondFactor => "second-factor",
        }
    }
}

/// Counts a try of a neighbourhood, whatever account it is about.
///
/// # Errors
///
/// 429 with the time to wait.
pub(crate) async fn address(cx: &Cx<Auth>, action: Action, caller: &Caller) -> Result<()> {
    let key = format!("{}/address/{}", action.name(), caller.network());
    take(cx, &key, PER_ADDRESS).await
}

/// Counts a try at an account: against the pair where the pair is known, else against the account.
///
/// # Errors
///
/// 429 with the time to wait.
pub(crate) async fn account(
    cx: &Cx<Auth>,
    action: Action,
    account: &str,
    caller: &Caller,
    is_known_pair: bool,
) -> Result<()> {
    let pair = format!("{}/pair/{account}/{}", action.name(), caller.network());
    take(cx, &pair, PER_PAIR).await?;
    if is_known_pair {
        return Ok(());
    }
    let key = format!("{}/account/{account}", action.name());
    take(cx, &key, PER_ACCOUNT).await
}

/// Whether somebody has signed in from the caller's address before: such a pair is not kept out by strangers' tries.
pub(crate) async fn is_known_pair(cx: &Cx<Auth>, user_id: Uuid, caller: &Caller) -> Result<bool> {
    let since = cx.clock().now()? - KNOWN_FOR;
    sessions::knows_address(&cx.db(), user_id, caller.ip, since).await
}

/// Whether one more mail may go to this address. Says nothing to the caller: who asks must not learn who asked before.
pub(crate) async fn may_mail(cx: &Cx<Auth>, email: &str) -> Result<bool> {
    let key = format!("mail/{email}");
    let taken = cx
        .kv()
        .take(&key, PER_MAILBOX.tries, PER_MAILBOX.period, 1)
        .await?;
    Ok(taken.allowed == 1)
}

async fn take(cx: &Cx<Auth>, key: &str, bucket: Bucket) -> Result<()> {
    let taken = cx.kv().take(key, bucket.tries, bucket.period, 1).await?;
    if taken.allowed == 1 {
        return Ok(());
    }
    Err(problem::too_many_tries(Duration::from_millis(
        taken.retry_ms,
    )))
}

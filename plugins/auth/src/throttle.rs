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

/// The time in which an address's bucket fills, and a pair's.
const SOON: Duration = Duration::from_secs(5 * 60);
/// The time in which an account's bucket fills, and a mailbox's.
const LATER: Duration = Duration::from_secs(15 * 60);
/// Tries at the second factor of one account, whatever is configured for passwords: six digits are few.
const SECOND_FACTORS: u32 = 10;
/// Mails to one address, whoever asks for them.
const MAILS: u32 = 5;
/// Wrong guesses of one account at something short.
const GUESSES: i64 = 5;

/// What is tried: buckets of different actions do not empty one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    SignIn,
    SignUp,
    Code,
    Pairing,
    Invitation,
    SecondFactor,
}

impl Action {
    const fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::SignUp => "sign-up",
            Self::Code => "code",
            Self::Pairing => "pairing",
            Self::Invitation => "invitation",
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
    take(cx, &key, cx.plugin().config.tries_per_address, SOON).await
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
    let tries = match action {
        Action::SecondFactor => SECOND_FACTORS,
        _ => cx.plugin().config.tries_per_account,
    };
    take(cx, &pair, tries, SOON).await?;
    if is_known_pair {
        return Ok(());
    }
    let key = format!("{}/account/{account}", action.name());
    take(cx, &key, tries, LATER).await
}

/// A guess that counts as wrong until it is said to be right.
#[must_use = "a right guess must be said to be right, or it counts as a wrong one"]
pub(crate) struct Guess(String);

/// Counts a guess of an account. It counts while it is looked at, too: of fifty at once five are looked at.
///
/// # Errors
///
/// 429 with the time to wait.
pub(crate) async fn guess(cx: &Cx<Auth>, action: Action, account: &str) -> Result<Guess> {
    let key = format!("{}/guesses/{account}", action.name());
    let guesses = cx.kv().increment(&key, 1, LATER).await?;
    if guesses > GUESSES {
        return Err(problem::too_many_tries(LATER));
    }
    Ok(Guess(key))
}

impl Guess {
    pub(crate) async fn was_right(self, cx: &Cx<Auth>) -> Result<()> {
        cx.kv().increment(&self.0, -1, LATER).await?;
        Ok(())
    }
}

/// Whether somebody has signed in from the caller's address before: such a pair is not kept out by strangers' tries.
pub(crate) async fn is_known_pair(cx: &Cx<Auth>, user_id: Uuid, caller: &Caller) -> Result<bool> {
    let since = cx.clock().now()? - KNOWN_FOR;
    sessions::knows_address(&cx.db(), user_id, caller.ip, since).await
}

/// Whether one more mail may go to this address. Says nothing to the caller: who asks must not learn who asked before.
pub(crate) async fn may_mail(cx: &Cx<Auth>, email: &str) -> Result<bool> {
    let key = format!("mail/{email}");
    let taken = cx.kv().take(&key, MAILS, LATER, 1).await?;
    Ok(taken.allowed == 1)
}

async fn take(cx: &Cx<Auth>, key: &str, tries: u32, period: Duration) -> Result<()> {
    let taken = cx.kv().take(key, tries, period, 1).await?;
    if taken.allowed == 1 {
        return Ok(());
    }
    Err(problem::too_many_tries(Duration::from_millis(
        taken.retry_ms,
    )))
}

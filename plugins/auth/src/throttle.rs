//! Counts tries: per address, per account and per pair, over all hosts.
//!
//! A stranger who tries one account from everywhere fills the account's bucket and shuts out other strangers, but never
//! the owner: whoever has signed in from an address before has the pair's bucket to themselves.
//!
//! Who is turned away leaves a trace in the audit log: one for each account and way in a quarter of an hour, however many tries
//! there are; so does a mail that is withheld. What is about no account is counted together, for anybody can think of as many of
//! those as they like.

use std::{borrow::Cow, time::Duration};

use nself_plugin_api::{
    jiff::SignedDuration,
    prelude::*,
    serde_json::{Value, json},
};
use uuid::Uuid;

use crate::{
    Auth,
    account::User,
    caller::Caller,
    problem,
    store::{accounts, sessions},
};

/// How long an address is remembered as one that somebody signs in from.
const KNOWN_FOR: SignedDuration = SignedDuration::from_hours(90 * 24);

/// The time in which an address's bucket fills, and a pair's.
const SOON: Duration = Duration::from_secs(5 * 60);
/// The time in which an account's bucket fills, and a mailbox's.
pub(crate) const LATER: Duration = Duration::from_secs(15 * 60);
/// Tries at the second factor of one account, whatever is configured for passwords: six digits are few.
const SECOND_FACTORS: u32 = 10;
/// What the audit log says of somebody who was turned away.
pub(crate) const TURNED_AWAY: &str = "auth.throttled";
/// What mails that are withheld are called in the audit log.
const MAIL: &str = "mail";
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
    /// What to think of a password: nothing is tried by it, but it costs a moment.
    Advice,
}

impl Action {
    /// What is counted for accounts.
    const ALL: [Self; 6] = [
        Self::SignIn,
        Self::SignUp,
        Self::Code,
        Self::Pairing,
        Self::Invitation,
        Self::SecondFactor,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::SignUp => "sign-up",
            Self::Code => "code",
            Self::Pairing => "pairing",
            Self::Invitation => "invitation",
            Self::SecondFactor => "second-factor",
            Self::Advice => "advice",
        }
    }
}

/// An account that is tried.
#[derive(Debug)]
pub(crate) struct Tried<'a> {
    /// What its tries are counted under: an address that somebody typed, or an account's id.
    key: Cow<'a, str>,
    /// `None` for an address that has no account.
    user_id: Option<Uuid>,
    /// Whether somebody has signed in from the caller's address before.
    is_known_pair: bool,
}

impl<'a> Tried<'a> {
    /// By an address, whether there is an account or not.
    pub(crate) fn address(email: &'a str, user_id: Option<Uuid>, is_known_pair: bool) -> Self {
        Self {
            key: Cow::Borrowed(email),
            user_id,
            is_known_pair,
        }
    }

    /// By its id.
    pub(crate) fn account(user_id: Uuid, is_known_pair: bool) -> Self {
        Self {
            key: Cow::Owned(user_id.to_string()),
            user_id: Some(user_id),
            is_known_pair,
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
    let tries = cx.plugin().config.tries_per_address;
    match take(cx, &key, tries, SOON).await? {
        None => Ok(()),
        Some(wait) => Err(turned_away(cx, action, None, caller, wait).await?),
    }
}

/// Counts a try at an account: against the pair where the pair is known, else against the account.
///
/// # Errors
///
/// 429 with the time to wait.
pub(crate) async fn account(
    cx: &Cx<Auth>,
    action: Action,
    tried: &Tried<'_>,
    caller: &Caller,
) -> Result<()> {
    let account = &tried.key;
    let pair = pair_key(action, account, &caller.network());
    let tries = match action {
        Action::SecondFactor => SECOND_FACTORS,
        _ => cx.plugin().config.tries_per_account,
    };
    let mut wait = take(cx, &pair, tries, SOON).await?;
    if wait.is_none() && !tried.is_known_pair {
        wait = take(cx, &account_key(action, account), tries, LATER).await?;
    }
    match wait {
        None => Ok(()),
        Some(wait) => Err(turned_away(cx, action, tried.user_id, caller, wait).await?),
    }
}

/// A guess that counts as wrong until it is said to be right.
#[must_use = "a right guess must be said to be right, or it counts as a wrong one"]
pub(crate) struct Guess(String);

/// Counts a guess of an account. It counts while it is looked at, too: of fifty at once five are looked at.
///
/// # Errors
///
/// 429 with the time to wait.
pub(crate) async fn guess(
    cx: &Cx<Auth>,
    action: Action,
    user_id: Uuid,
    caller: &Caller,
) -> Result<Guess> {
    let key = guesses_key(action, user_id);
    let guesses = cx.kv().increment(&key, 1, LATER).await?;
    if guesses > GUESSES {
        return Err(turned_away(cx, action, Some(user_id), caller, LATER).await?);
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

/// Forgets what was counted of an account, and of it together with these networks.
pub(crate) async fn forget(cx: &Cx<Auth>, user: &User, networks: &[&str]) -> Result<()> {
    let id = user.id.to_string();
    let email = user.email.as_deref();
    let mut keys = vec![trace_key(MAIL, user.id)];
    keys.extend(
        email
            .into_iter()
            .flat_map(|email| [mail_key(email), withheld_key(email)]),
    );
    for action in Action::ALL {
        keys.extend([
            guesses_key(action, user.id),
            trace_key(action.name(), user.id),
        ]);
        for account in [Some(&*id), email].into_iter().flatten() {
            keys.push(account_key(action, account));
            keys.extend(
                networks
                    .iter()
                    .map(|network| pair_key(action, account, network)),
            );
        }
    }
    for key in keys {
        cx.kv().delete(&key).await?;
    }
    Ok(())
}

fn account_key(action: Action, account: &str) -> String {
    format!("{}/account/{account}", action.name())
}

fn pair_key(action: Action, account: &str, network: &str) -> String {
    format!("{}/pair/{account}/{network}", action.name())
}

fn guesses_key(action: Action, user_id: Uuid) -> String {
    format!("{}/guesses/{user_id}", action.name())
}

fn mail_key(email: &str) -> String {
    format!("mail/{email}")
}

fn withheld_key(email: &str) -> String {
    format!("withheld/{email}")
}

fn trace_key(way: &str, account: Uuid) -> String {
    format!("turned-away/{way}/{account}")
}

/// Whether one more mail may go to this address. Says nothing to the caller: who asks must not learn who asked before.
pub(crate) async fn may_mail(cx: &Cx<Auth>, email: &str) -> Result<bool> {
    let key = mail_key(email);
    let taken = cx.kv().take(&key, MAILS, LATER, 1).await?;
    if taken.allowed == 1 {
        return Ok(true);
    }
    withheld(cx, email).await?;
    Ok(false)
}

/// Tells the audit log of the first mail that was not sent to an address. Whose it is is looked up beside the answer, which takes
/// as long whether there is such an account or not.
async fn withheld(cx: &Cx<Auth>, email: &str) -> Result<()> {
    let key = withheld_key(email);
    if cx.kv().increment(&key, 1, LATER).await? != 1 {
        return Ok(());
    }
    let (cx, email) = (cx.clone(), email.to_owned());
    cx.clone().tasks().spawn("withheld", async move {
        let told = async {
            let account = accounts::find_by_email(&cx.db(), &email).await?;
            let user_id = account.map(|account| account.user.id);
            match Trace::first(&cx, MAIL, user_id).await? {
                Some(trace) => trace.write(&cx, &json!({"way": MAIL})).await,
                None => Ok(()),
            }
        };
        let told = told.await;
        if told.is_err() {
            // The next one is told of instead.
            cx.kv().delete(&key).await?;
        }
        told
    })?;
    Ok(())
}

/// How long to wait before the next try; nothing when this one was free.
async fn take(cx: &Cx<Auth>, key: &str, tries: u32, period: Duration) -> Result<Option<Duration>> {
    let taken = cx.kv().take(key, tries, period, 1).await?;
    Ok((taken.allowed != 1).then(|| Duration::from_millis(taken.retry_ms)))
}

/// What who is turned away is told; the audit log is told of the first one.
async fn turned_away(
    cx: &Cx<Auth>,
    action: Action,
    user_id: Option<Uuid>,
    caller: &Caller,
    wait: Duration,
) -> Result<Error> {
    let way = action.name();
    if let Some(trace) = Trace::first(cx, way, user_id).await? {
        let (cx, network) = (cx.clone(), caller.network());
        // Beside the answer, which takes as long whether there is such an account or not.
        cx.clone().tasks().spawn("turned_away", async move {
            let details = json!({"way": way, "network": network});
            trace.write(&cx, &details).await
        })?;
    }
    Ok(problem::too_many_tries(wait))
}

/// An entry that the audit log is to get.
struct Trace {
    key: String,
    user_id: Option<Uuid>,
}

impl Trace {
    /// The one of an account and way for the next quarter of an hour, unless it is there already.
    async fn first(cx: &Cx<Auth>, way: &str, user_id: Option<Uuid>) -> Result<Option<Self>> {
        let key = trace_key(way, user_id.unwrap_or_default());
        let is_first = cx.kv().increment(&key, 1, LATER).await? == 1;
        Ok(is_first.then_some(Self { key, user_id }))
    }

    async fn write(self, cx: &Cx<Auth>, details: &Value) -> Result<()> {
        let written = accounts::audit_by_nobody(&cx.db(), TURNED_AWAY, self.user_id, details).await;
        if written.is_err() {
            // The next one is told of instead.
            cx.kv().delete(&self.key).await?;
        }
        written
    }
}

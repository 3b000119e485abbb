//! Codes and links that work once.
//!
//! A code is eight digits, good for ten minutes and five tries, and belongs to the flow that asked for it: the code of one
//! request is worth nothing in another. A link carries a random secret. Only a MAC of either is stored.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nself_plugin_api::{
    capability::db::Transaction, jiff::SignedDuration, prelude::*, serde_json::Value,
};
use uuid::Uuid;

use crate::{
    Auth,
    mac::{BYTES, Purpose as MacPurpose},
    problem, replay,
    store::{
        failed_proofs,
        one_time::{self as store, Attempt},
    },
};

/// Bytes of a link's secret.
const LINK_BYTES: u32 = 24;

/// What a code or link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    VerifyEmail,
    ResetPassword,
    ChangeEmail,
    MagicLink,
    EmailCode,
    /// A code that comes back with the address and without its flow: apps written for Nhost know no flows.
    AddressCode,
    /// The first factor was shown, the second is awaited.
    SecondFactor,
    /// A guardian shows a child how to sign in.
    ChildSignIn,
    /// Somebody was sent to another place and is awaited back.
    ProviderFlow,
    /// The same, for an app written for Nhost.
    NhostProviderFlow,
    /// Somebody who is signed in is about to be sent to another place.
    ProviderLink,
    /// Somebody came back from another place.
    ProviderCode,
    /// A session has begun, and its app takes it over.
    SessionCode,
    /// A passkey is to be made.
    PasskeyRegistration,
    /// A passkey is to be made for an account that is not there yet.
    PasskeySignUp,
    /// A passkey is to be shown.
    PasskeyLogin,
}

impl Purpose {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
            Self::ChangeEmail => "change_email",
            Self::MagicLink => "magic_link",
            Self::EmailCode => "email_code",
            Self::AddressCode => "address_code",
            Self::SecondFactor => "second_factor",
            Self::ChildSignIn => "child_sign_in",
            Self::ProviderFlow => "provider_flow",
            Self::NhostProviderFlow => "nhost_provider_flow",
            Self::ProviderLink => "provider_link",
            Self::ProviderCode => "provider_code",
            Self::SessionCode => "session_code",
            Self::PasskeyRegistration => "passkey_registration",
            Self::PasskeySignUp => "passkey_sign_up",
            Self::PasskeyLogin => "passkey_login",
        }
    }

    pub(crate) const fn lifetime(self) -> SignedDuration {
        match self {
            Self::VerifyEmail => SignedDuration::from_hours(24),
            Self::ResetPassword => SignedDuration::from_mins(30),
            Self::ChangeEmail => SignedDuration::from_hours(1),
            Self::MagicLink => SignedDuration::from_mins(15),
            Self::EmailCode
            | Self::AddressCode
            | Self::SecondFactor
            | Self::ChildSignIn
            | Self::ProviderFlow
            | Self::NhostProviderFlow => SignedDuration::from_mins(10),
            Self::ProviderLink
            | Self::PasskeyRegistration
            | Self::PasskeySignUp
            | Self::PasskeyLogin => SignedDuration::from_mins(5),
            Self::ProviderCode | Self::SessionCode => SignedDuration::from_mins(2),
        }
    }
}

/// What a new one is about.
#[derive(Debug, Clone)]
pub(crate) struct Subject<'a> {
    pub(crate) purpose: Purpose,
    /// Address or account; one is alive per purpose and target.
    pub(crate) target: &'a str,
    pub(crate) user_id: Option<Uuid>,
    pub(crate) payload: Value,
}

/// One that was used.
#[derive(Debug, Clone)]
pub(crate) struct Used {
    pub(crate) id: Uuid,
    pub(crate) target: String,
    pub(crate) user_id: Option<Uuid>,
    pub(crate) payload: Value,
}

/// A new code, to be mailed, and the flow that it belongs to. `None` when the one before has used up its tries and has not
/// run out yet: asking again does not give more of them.
pub(crate) async fn code(
    cx: &Cx<Auth>,
    db: &impl Queries,
    subject: Subject<'_>,
) -> Result<Option<(Uuid, String)>> {
    let code = digits(&cx.crypto().random(8)?);
    let flow = Uuid::now_v7();
    let is_there = keep(cx, db, flow, subject, code.as_bytes()).await?;
    Ok(is_there.then_some((flow, code)))
}

/// A new link's token, to be mailed.
pub(crate) async fn link(
    cx: &Cx<Auth>,
    db: &impl Queries,
    subject: Subject<'_>,
) -> Result<Option<String>> {
    let secret = cx.crypto().random(LINK_BYTES)?;
    let flow = Uuid::now_v7();
    let is_there = keep(cx, db, flow, subject, &secret).await?;
    let token = || URL_SAFE_NO_PAD.encode([flow.as_bytes(), &secret[..]].concat());
    Ok(is_there.then(token))
}

/// Remembers where somebody stands, without a secret: the second factor is checked against the account.
pub(crate) async fn flow(cx: &Cx<Auth>, subject: Subject<'_>) -> Result<Option<Uuid>> {
    let flow = Uuid::now_v7();
    let is_there = replace(cx, &cx.db(), flow, subject, None).await?;
    Ok(is_there.then_some(flow))
}

/// The flow that is alive for a purpose and target.
pub(crate) async fn alive(cx: &Cx<Auth>, purpose: Purpose, target: &str) -> Result<Option<Uuid>> {
    store::alive(&cx.db(), purpose.name(), target).await
}

/// Whose flow it is, while it is alive.
pub(crate) async fn flow_owner(
    cx: &Cx<Auth>,
    purpose: Purpose,
    flow: Uuid,
) -> Result<Option<Uuid>> {
    store::owner(&cx.db(), flow, purpose.name(), cx.clock().now()?).await
}

/// Counts a try in a flow, also of those that come at the same time: the row stays locked until the transaction ends, which
/// the caller commits whatever comes of the try.
pub(crate) async fn try_flow(
    cx: &Cx<Auth>,
    transaction: &Transaction,
    purpose: Purpose,
    flow: Uuid,
) -> Result<Option<Used>> {
    store::count(transaction, flow, purpose.name(), cx.clock().now()?).await
}

/// Uses a flow up: of many at once one gets it.
pub(crate) async fn take_flow(
    cx: &Cx<Auth>,
    transaction: &Transaction,
    purpose: Purpose,
    flow: Uuid,
) -> Result<Option<Used>> {
    store::take(transaction, flow, purpose.name(), cx.clock().now()?).await
}

async fn keep(
    cx: &Cx<Auth>,
    db: &impl Queries,
    flow: Uuid,
    subject: Subject<'_>,
    secret: &[u8],
) -> Result<bool> {
    let mac = mac(cx, subject.purpose, flow, secret);
    replace(cx, db, flow, subject, Some(&mac)).await
}

async fn replace(
    cx: &Cx<Auth>,
    db: &impl Queries,
    flow: Uuid,
    subject: Subject<'_>,
    mac: Option<&[u8]>,
) -> Result<bool> {
    let now = cx.clock().now()?;
    let expires_at = now + subject.purpose.lifetime();
    store::replace(db, flow, &subject, mac, now, expires_at).await
}

/// Uses a code in a transaction, which goes on when it was right. Each call counts as a try, also those that come at the same
/// time; a try that failed is committed before this returns.
///
/// # Errors
///
/// `CODE_INVALID`, the same for every reason.
pub(crate) async fn use_code(
    cx: &Cx<Auth>,
    transaction: Transaction,
    purpose: Purpose,
    flow: Uuid,
    code: &str,
) -> Result<(Transaction, Used)> {
    let is_sign = |c: &char| !c.is_whitespace() && *c != '-';
    let typed: String = code.chars().filter(is_sign).take(32).collect();
    attempt(cx, transaction, purpose, flow, typed.as_bytes()).await
}

/// Uses a link's token in a transaction, as [`use_code`] does.
///
/// # Errors
///
/// `CODE_INVALID`, the same for every reason.
pub(crate) async fn use_link(
    cx: &Cx<Auth>,
    transaction: Transaction,
    purpose: Purpose,
    token: &str,
) -> Result<(Transaction, Used)> {
    let mut bytes = [0; 16 + LINK_BYTES as usize];
    let decoded = URL_SAFE_NO_PAD.decode_slice(token, &mut bytes);
    if decoded.ok() != Some(bytes.len()) {
        return Err(problem::bad_code());
    }
    let (flow, secret) = bytes.split_at(16);
    let flow = Uuid::from_slice(flow).map_err(Error::internal)?;
    attempt(cx, transaction, purpose, flow, secret).await
}

async fn attempt(
    cx: &Cx<Auth>,
    transaction: Transaction,
    purpose: Purpose,
    flow: Uuid,
    secret: &[u8],
) -> Result<(Transaction, Used)> {
    let now = cx.clock().now()?;
    let mac = mac(cx, purpose, flow, secret);
    match store::attempt(&transaction, flow, purpose.name(), &mac, now).await? {
        Attempt::Right(used) => return Ok((transaction, used)),
        Attempt::Wrong(user_id) => {
            failed_proofs::note(&transaction, user_id, purpose.name(), None, now).await?;
        }
        Attempt::Gone => replay::end(cx, &transaction, purpose, flow, &mac, now).await?,
    }
    transaction.commit().await?;
    Err(problem::bad_code())
}

/// The flow is part of what is authenticated, so a code is good in its own flow only.
fn mac(cx: &Cx<Auth>, purpose: Purpose, flow: Uuid, secret: &[u8]) -> [u8; BYTES] {
    let macs = &cx.plugin().keys.macs;
    let data = [purpose.name().as_bytes(), flow.as_bytes(), secret].concat();
    macs.make(macs.newest(), MacPurpose::OneTime, &data)
        .expect("the newest key is there")
}

/// Eight digits. The modulo of 64 bits favours some by less than one in a billion.
fn digits(random: &[u8]) -> String {
    let number = random
        .iter()
        .take(8)
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("{:08}", number % 100_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_eight_digits() {
        assert_eq!(digits(&[0; 8]), "00000000");
        assert_eq!(digits(&[255; 8]), format!("{:08}", u64::MAX % 100_000_000));
    }
}

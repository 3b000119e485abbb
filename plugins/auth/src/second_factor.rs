//! The second factor: what may be shown as one, and what changes of one need.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nself_plugin_api::{bytes::Bytes, capability::db::Transaction, prelude::*, serde_json::json};
use uuid::Uuid;

use crate::{
    Auth,
    caller::Caller,
    failed_proof::{self, Way},
    one_time::{self, Purpose},
    passkey::{self, PasskeyProof},
    problem,
    proof::{Proof, after_both_factors},
    recovery,
    session::Tokens,
    store::{accounts, factors},
    throttle::{self, Action, Tried},
    totp,
};

/// What somebody shows.
#[derive(Debug)]
pub(crate) enum Factor {
    /// A TOTP code.
    Code(String),
    /// A recovery code.
    RecoveryCode(String),
    /// A passkey.
    Passkey(Box<PasskeyProof>),
}

impl Factor {
    /// The one that is there, if any.
    ///
    /// # Errors
    ///
    /// `SECOND_FACTOR_AMBIGUOUS` for more than one: each would be used up, and one would do.
    pub(crate) fn one_of(
        code: Option<String>,
        recovery_code: Option<String>,
        passkey: Option<PasskeyProof>,
    ) -> Result<Option<Self>> {
        let mut given = [
            code.map(Self::Code),
            recovery_code.map(Self::RecoveryCode),
            passkey.map(|proof| Self::Passkey(Box::new(proof))),
        ]
        .into_iter()
        .flatten();
        let first = given.next();
        if given.next().is_some() {
            return Err(Error::invalid(
                "SECOND_FACTOR_AMBIGUOUS",
                "expected one of code, recovery_code and passkey, found more",
            ));
        }
        Ok(first)
    }
}

/// Uses a factor up, in a transaction that the caller commits whatever the answer is. The method's name (RFC 8176), if it
/// was right.
pub(crate) async fn show(
    cx: &Cx<Auth>,
    transaction: &Transaction,
    user_id: Uuid,
    factor: &Factor,
) -> Result<Option<&'static str>> {
    match factor {
        Factor::Code(code) => {
            let is_right = show_code(cx, transaction, user_id, code).await?;
            Ok(is_right.then_some("otp"))
        }
        Factor::RecoveryCode(code) => {
            let candidates = recovery::candidates(&cx.plugin().keys.macs, user_id, code);
            if !factors::use_recovery_code(transaction, user_id, &candidates).await? {
                return Ok(None);
            }
            let action = "auth.recovery_code_used";
            accounts::audit(transaction, action, user_id, &json!({})).await?;
            Ok(Some("otp"))
        }
        Factor::Passkey(proof) => {
            let proved = passkey::prove(cx, transaction, proof).await?;
            let own = proved.filter(|proved| proved.user_id == user_id);
            Ok(own.map(|proved| proved.method))
        }
    }
}

/// Uses a factor up for somebody who is signed in, and counts the try.
///
/// # Errors
///
/// `CODE_INVALID`; 429 after too many tries.
pub(crate) async fn try_now(
    cx: &Cx<Auth>,
    user_id: Uuid,
    factor: &Factor,
    caller: &Caller,
) -> Result<&'static str> {
    count_try(cx, user_id, caller).await?;
    let transaction = cx.db().begin().await?;
    let method = show(cx, &transaction, user_id, factor).await?;
    if method.is_none() {
        let way = Way::Reauthentication;
        failed_proof::note(cx, &transaction, Some(user_id), way, caller).await?;
    }
    transaction.commit().await?;
    method.ok_or_else(problem::bad_code)
}

/// Counts a try against the account, or against the pair where the pair is known.
///
/// # Errors
///
/// 429 with the time to wait.
pub(crate) async fn count_try(cx: &Cx<Auth>, user_id: Uuid, caller: &Caller) -> Result<()> {
    let is_known = throttle::is_known_pair(cx, user_id, caller).await?;
    let tried = Tried::account(user_id, is_known);
    throttle::account(cx, Action::SecondFactor, &tried, caller).await
}

async fn show_code(
    cx: &Cx<Auth>,
    transaction: &Transaction,
    user_id: Uuid,
    code: &str,
) -> Result<bool> {
    let stored = factors::totp(transaction, user_id).await?;
    let Some(stored) = stored.filter(|totp| totp.is_confirmed) else {
        return Ok(false);
    };
    let now = cx.clock().now()?;
    let secret = open(cx, stored.id, &stored.sealed)?;
    match totp::step_of(&secret, code, now.as_second()) {
        Some(step) => factors::use_step(transaction, stored.id, step, now).await,
        None => Ok(false),
    }
}

/// Seals a TOTP secret for the credential that it belongs to.
pub(crate) fn seal(cx: &Cx<Auth>, id: Uuid, secret: &[u8]) -> Result<String> {
    let sealed = cx.crypto().seal(secret, id.as_bytes())?;
    Ok(URL_SAFE_NO_PAD.encode(sealed))
}

/// Opens what [`seal`] made.
pub(crate) fn open(cx: &Cx<Auth>, id: Uuid, sealed: &str) -> Result<Bytes> {
    let sealed = URL_SAFE_NO_PAD.decode(sealed).map_err(Error::internal)?;
    cx.crypto().open(&sealed, id.as_bytes())
}

/// What may be shown by somebody, to be named in an answer to who has shown the first factor.
pub(crate) async fn methods(db: &impl Queries, user_id: Uuid) -> Result<Vec<&'static str>> {
    let enrolled = factors::enrolled(db, user_id).await?;
    let all = [
        ("totp", enrolled.totp_since.is_some()),
        ("recovery", enrolled.recovery_codes > 0),
        ("passkey", enrolled.passkeys > 0),
    ];
    let there = all.into_iter().filter(|(_, is_there)| *is_there);
    Ok(there.map(|(name, _)| name).collect())
}

/// What a change of the ways to sign in needs: a fresh proof, and where there is a second factor, one with it.
///
/// # Errors
///
/// `STEP_UP_REQUIRED`.
pub(crate) fn may_change(principal: &Principal, has_second_factor: bool) -> Result<()> {
    if principal.elevated && (principal.aal >= 2 || !has_second_factor) {
        Ok(())
    } else {
        Err(problem::step_up())
    }
}

/// Ends a sign-in that waits for its second factor.
///
/// # Errors
///
/// `CODE_INVALID`, the same for every reason; `TOO_MANY_TRIES`.
pub(crate) async fn finish(
    cx: &Cx<Auth>,
    flow_id: Uuid,
    factor: &Factor,
    caller: &Caller,
) -> Result<Tokens> {
    throttle::address(cx, Action::Code, caller).await?;
    let user_id = one_time::flow_owner(cx, Purpose::SecondFactor, flow_id)
        .await?
        .ok_or_else(problem::bad_code)?;
    count_try(cx, user_id, caller).await?;
    let transaction = cx.db().begin().await?;
    let flow = one_time::try_flow(cx, &transaction, Purpose::SecondFactor, flow_id)
        .await?
        .ok_or_else(problem::bad_code)?;
    let method = show(cx, &transaction, user_id, factor).await?;
    if method.is_some() {
        one_time::take_flow(cx, &transaction, Purpose::SecondFactor, flow_id).await?;
    } else {
        let way = Way::SecondFactor;
        failed_proof::note(cx, &transaction, Some(user_id), way, caller).await?;
    }
    transaction.commit().await?;
    let method = method.ok_or_else(problem::bad_code)?;
    let account = accounts::find_by_id(&cx.db(), user_id)
        .await?
        .ok_or_else(problem::bad_code)?;
    let first = flow.payload["amr"].as_str().unwrap_or_default();
    let amr = both(first, method);
    let family = flow.payload["family_id"].as_str();
    let family = family.and_then(|family| family.parse().ok());
    let begun_by = flow.payload["begun_by"].as_str();
    let proof = Proof {
        begun_by: begun_by.and_then(|code| code.parse().ok()),
        ..Proof::double(&amr)
    };
    after_both_factors(cx, &account, proof, family, caller).await
}

/// The methods of a sign-in: the first one, the second one, and that there were two.
pub(crate) fn both<'a>(first: &'a str, second: &'a str) -> Vec<&'a str> {
    let mut methods = vec![first, second, "mfa"];
    methods.dedup();
    methods
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_factor_at_a_time() {
        let text = || Some("1".to_owned());
        assert!(Factor::one_of(None, None, None).expect("none").is_none());
        assert!(matches!(
            Factor::one_of(text(), None, None),
            Ok(Some(Factor::Code(_)))
        ));
        assert!(Factor::one_of(text(), text(), None).is_err());
    }

    #[test]
    fn a_method_is_named_once() {
        assert_eq!(both("pwd", "otp"), ["pwd", "otp", "mfa"]);
        assert_eq!(both("otp", "otp"), ["otp", "mfa"]);
    }
}

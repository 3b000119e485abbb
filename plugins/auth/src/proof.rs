//! What happens between a first proof and a session: the account may be closed, or a second factor may be asked for.

use nself_plugin_api::{prelude::*, schema::Shape, serde_json::json};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    Auth,
    caller::Caller,
    one_time::{self, Purpose, Subject},
    problem, second_factor,
    session::{self, Tokens},
    store::accounts::Account,
    throttle,
};

/// How somebody proved who they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proof<'a> {
    /// Authentication methods (RFC 8176): `pwd`, `otp`, `hwk`, `mfa`.
    pub(crate) amr: &'a [&'a str],
    /// Whether two factors were shown.
    pub(crate) has_two_factors: bool,
    /// The code that it was begun by, if that must not come again: see [`replay`](crate::replay).
    pub(crate) begun_by: Option<Uuid>,
}

impl<'a> Proof<'a> {
    /// By one factor.
    pub(crate) const fn single(amr: &'a [&'a str]) -> Self {
        Self {
            amr,
            has_two_factors: false,
            begun_by: None,
        }
    }

    /// By two.
    pub(crate) const fn double(amr: &'a [&'a str]) -> Self {
        Self {
            amr,
            has_two_factors: true,
            begun_by: None,
        }
    }
}

/// A first proof.
#[derive(Debug, Clone, Copy)]
pub(crate) struct First {
    pub(crate) method: &'static str,
    /// As of a [`Proof`].
    pub(crate) begun_by: Option<Uuid>,
}

impl From<&'static str> for First {
    fn from(method: &'static str) -> Self {
        Self {
            method,
            begun_by: None,
        }
    }
}

/// What a first proof leads to.
pub(crate) enum SignedIn {
    /// A session.
    Tokens(Box<Tokens>),
    /// The question for a second factor.
    SecondFactor(SecondFactor),
}

impl Respond for SignedIn {
    const SHAPE: Option<&'static Shape> =
        Some(&Shape::OneOf(&[&Tokens::SHAPE, &SecondFactor::SHAPE]));
    const KIND: &'static str = "json";

    fn respond(self) -> Result<Response> {
        match self {
            Self::Tokens(tokens) => Data(*tokens).respond(),
            Self::SecondFactor(question) => Data(question).respond(),
        }
    }
}

/// The first factor was right; the second is awaited.
#[derive(Serialize, Schema)]
pub(crate) struct SecondFactor {
    /// Always true.
    pub mfa_required: bool,
    /// Names this sign-in when the second factor is shown.
    pub flow_id: Uuid,
    /// What may be shown.
    pub methods: Vec<&'static str>,
}

/// Signs an account in after a first proof, or asks for the second factor that it has.
///
/// # Errors
///
/// `CREDENTIALS_INVALID` for an account that is closed.
pub(crate) async fn after_first_factor(
    cx: &Cx<Auth>,
    account: &Account,
    first: impl Into<First>,
    family: Option<Uuid>,
    caller: &Caller,
) -> Result<SignedIn> {
    let First { method, begun_by } = first.into();
    if !account.is_active {
        return Err(problem::bad_credentials());
    }
    if account.has_totp {
        let target = flow_target(cx, account.user.id, caller).await?;
        let subject = Subject {
            purpose: Purpose::SecondFactor,
            target: &target,
            user_id: Some(account.user.id),
            payload: json!({"amr": method, "family_id": family, "begun_by": begun_by}),
        };
        let flow_id = one_time::flow(cx, subject)
            .await?
            .ok_or_else(|| problem::too_many_tries(std::time::Duration::from_secs(600)))?;
        return Ok(SignedIn::SecondFactor(SecondFactor {
            mfa_required: true,
            flow_id,
            methods: second_factor::methods(&cx.db(), account.user.id).await?,
        }));
    }
    let amr = [method];
    let proof = Proof {
        begun_by,
        ..Proof::single(&amr)
    };
    let tokens = session::begin(cx, &account.user, proof, family, caller).await?;
    Ok(SignedIn::Tokens(Box::new(tokens)))
}

/// What the tries of a second factor are counted against: strangers share a count, and each network that somebody has signed
/// in from has one of its own. A thief of a password who uses up the tries does not keep its owner out.
async fn flow_target(cx: &Cx<Auth>, user_id: Uuid, caller: &Caller) -> Result<String> {
    Ok(if throttle::is_known_pair(cx, user_id, caller).await? {
        format!("{user_id}/{}", caller.network())
    } else {
        user_id.to_string()
    })
}

/// Signs an account in after two factors were shown.
///
/// # Errors
///
/// `CREDENTIALS_INVALID` for an account that is closed.
pub(crate) async fn after_both_factors(
    cx: &Cx<Auth>,
    account: &Account,
    proof: Proof<'_>,
    family: Option<Uuid>,
    caller: &Caller,
) -> Result<Tokens> {
    if !account.is_active {
        return Err(problem::bad_credentials());
    }
    session::begin(cx, &account.user, proof, family, caller).await
}

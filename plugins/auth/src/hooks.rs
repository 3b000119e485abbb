//! What another plugin has to say when somebody registers or signs in, and what it adds to tokens.
//!
//! Each hook is a capability that one other plugin may provide. Where none does, nothing is asked and nothing is waited for.
//! Where one does, nobody goes on without its word: a hook that fails, answers something else than agreed or takes too long
//! is no yes. No hook is asked while a transaction is open, because it may take its time.

mod claims;

use std::{net::IpAddr, pin::pin, time::Duration};

use nself_plugin_api::{
    futures_util::future::{Either, select},
    prelude::*,
    serde_json::{Map, Value},
};
use serde::Serialize;
use uuid::Uuid;

pub(crate) use self::claims::Extra;
use crate::{Auth, account::User, caller::Caller, problem, session::Session};

/// The hooks, as the manifest names them.
pub(crate) const ALL: &[&str] = &[BEFORE_REGISTER, BEFORE_SIGN_IN, CLAIMS];

const BEFORE_REGISTER: &str = "auth.before_register/1";
const BEFORE_SIGN_IN: &str = "auth.before_sign_in/1";
const CLAIMS: &str = "auth.claims/1";

/// The one method of every hook.
const METHOD: &str = "ask";

/// How long a hook has for its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// An account that is about to be made.
#[derive(Serialize)]
pub(crate) struct Registration<'a> {
    pub(crate) way: Way,
    /// None for a child and for who has no address yet.
    pub(crate) email: Option<&'a str>,
    pub(crate) display_name: &'a str,
    pub(crate) locale: &'a str,
    /// The place that somebody signed in with.
    pub(crate) provider: Option<&'a str>,
    /// The anonymous account that gets the address.
    pub(crate) user_id: Option<Uuid>,
    /// Whether a family has asked them in.
    pub(crate) is_invited: bool,
    pub(crate) from: Origin<'a>,
}

/// How an account begins.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Way {
    Address,
    Provider,
    Anonymous,
    Child,
    Operator,
}

/// Where a request comes from.
#[derive(Serialize)]
pub(crate) struct Origin<'a> {
    ip: Option<IpAddr>,
    user_agent: Option<&'a str>,
    client: Option<&'a str>,
}

impl<'a> Origin<'a> {
    pub(crate) fn caller(caller: &'a Caller) -> Self {
        Self {
            ip: caller.ip,
            user_agent: caller.user_agent.as_deref(),
            client: caller.client.as_deref(),
        }
    }
}

/// Somebody who has proved who they are, or a machine that was let in.
#[derive(Serialize)]
struct SignIn<'a> {
    user_id: Option<Uuid>,
    device_id: Option<Uuid>,
    email: Option<&'a str>,
    is_child: bool,
    is_anonymous: bool,
    amr: &'a [&'a str],
    /// The family that was asked for.
    family_id: Option<Uuid>,
    from: Origin<'a>,
}

/// A token that is about to be signed.
#[derive(Serialize)]
struct Bearer<'a> {
    session_id: Uuid,
    user_id: Option<Uuid>,
    device_id: Option<Uuid>,
    family_id: Option<Uuid>,
    role: Option<&'a str>,
    aal: &'a str,
    amr: &'a [String],
}

/// Whether anybody has a say when accounts are made.
pub(crate) fn may_refuse_registration(cx: &Cx<Auth>) -> Result<bool> {
    cx.calls().is_provided(BEFORE_REGISTER)
}

/// Asks before an account is made.
///
/// # Errors
///
/// What the hook refuses with; `HOOK_UNAVAILABLE`.
pub(crate) async fn before_register(cx: &Cx<Auth>, registration: &Registration<'_>) -> Result<()> {
    let answer = ask(cx, BEFORE_REGISTER, registration).await?;
    assent(BEFORE_REGISTER, answer)
}

/// Asks before a person's session begins, once everything is proved; whether there was anybody to ask. Time has passed then,
/// in which what was looked at before may have ended.
///
/// # Errors
///
/// What the hook refuses with; `HOOK_UNAVAILABLE`.
pub(crate) async fn before_sign_in(
    cx: &Cx<Auth>,
    user: &User,
    amr: &[&str],
    family_id: Option<Uuid>,
    caller: &Caller,
) -> Result<bool> {
    let sign_in = SignIn {
        user_id: Some(user.id),
        device_id: None,
        email: user.email.as_deref(),
        is_child: user.is_child(),
        is_anonymous: user.is_anonymous,
        amr,
        family_id,
        from: Origin::caller(caller),
    };
    let answer = ask(cx, BEFORE_SIGN_IN, &sign_in).await?;
    let was_asked = answer.is_some();
    assent(BEFORE_SIGN_IN, answer)?;
    Ok(was_asked)
}

/// Asks before a machine's session begins.
///
/// # Errors
///
/// What the hook refuses with; `HOOK_UNAVAILABLE`.
pub(crate) async fn before_device_sign_in(
    cx: &Cx<Auth>,
    device_id: Uuid,
    family_id: Uuid,
    caller: &Caller,
) -> Result<()> {
    let sign_in = SignIn {
        user_id: None,
        device_id: Some(device_id),
        email: None,
        is_child: false,
        is_anonymous: false,
        amr: &[],
        family_id: Some(family_id),
        from: Origin::caller(caller),
    };
    let answer = ask(cx, BEFORE_SIGN_IN, &sign_in).await?;
    assent(BEFORE_SIGN_IN, answer)
}

/// Whether anybody adds to tokens.
pub(crate) fn has_claims(cx: &Cx<Auth>) -> Result<bool> {
    cx.calls().is_provided(CLAIMS)
}

/// Asks what a session's next token says beside what this plugin says.
///
/// # Errors
///
/// What the hook refuses with; `HOOK_UNAVAILABLE`, also when it claims what it may not.
pub(crate) async fn claims(cx: &Cx<Auth>, session: &Session) -> Result<Extra> {
    let bearer = Bearer {
        session_id: session.id,
        user_id: session.user_id,
        device_id: session.device_id,
        family_id: session.active_family(),
        role: session.role.as_deref(),
        aal: session.aal_name(),
        amr: &session.amr,
    };
    match ask(cx, CLAIMS, &bearer).await? {
        Some(claims) => Extra::read(claims).map_err(|why| unavailable(CLAIMS, &why)),
        None => Ok(Extra::default()),
    }
}

/// The answer of a hook, which is an object; `None` where there is no hook.
async fn ask(
    cx: &Cx<Auth>,
    hook: &'static str,
    question: &impl Serialize,
) -> Result<Option<Map<String, Value>>> {
    let (calls, clock) = (cx.calls(), cx.clock());
    if !calls.is_provided(hook)? {
        return Ok(None);
    }
    let asked = pin!(calls.json(hook, METHOD, question));
    let late = pin!(clock.sleep(PATIENCE));
    match select(asked, late).await {
        Either::Left((Ok(answer), _)) => Ok(Some(answer)),
        // Its own words, and nothing else of the error: what it says to its log is not for whoever signs in.
        Either::Left((Err(error), _)) if error.status() == 403 => Err(Error::new(
            403,
            error.code().to_owned(),
            error.message().to_owned(),
        )),
        Either::Left((Err(error), _)) => Err(unavailable(hook, &format!("{error:?}"))),
        Either::Right(_) => Err(unavailable(hook, "it took too long to answer")),
    }
}

/// A yes is an empty object. Whoever answers `{"allow": false}` did not mean yes.
fn assent(hook: &str, answer: Option<Map<String, Value>>) -> Result<()> {
    if answer.is_none_or(|answer| answer.is_empty()) {
        return Ok(());
    }
    let why = "its answer is not {}, and a no is an error with the status 403";
    Err(unavailable(hook, why))
}

fn unavailable(hook: &str, why: &str) -> Error {
    problem::hook_unavailable().with_cause(format!("{hook}: {why}"))
}

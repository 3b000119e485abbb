//! Sessions: what signing in makes, what a refresh continues, what signing out ends.

use nself_plugin_api::{
    jiff::{SignedDuration, Timestamp},
    prelude::*,
    serde_json::Value,
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    Auth, access,
    account::User,
    caller::Caller,
    hooks::{self, Extra},
    notify, problem,
    proof::Proof,
    refresh::RefreshToken,
    replay,
    store::{
        accounts,
        sessions::{self as store, End},
    },
};

/// A session with everything that its tokens say.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) id: Uuid,
    pub(crate) generation: i32,
    pub(crate) epoch: i32,
    pub(crate) user_id: Option<Uuid>,
    pub(crate) device_id: Option<Uuid>,
    /// The family that was chosen; it is active only while there is a membership.
    pub(crate) family_id: Option<Uuid>,
    pub(crate) member_id: Option<Uuid>,
    pub(crate) role: Option<String>,
    pub(crate) family_ids: Vec<Uuid>,
    pub(crate) app_roles: Value,
    pub(crate) aal: i16,
    pub(crate) amr: Vec<String>,
    pub(crate) auth_time: Timestamp,
    pub(crate) elevated_until: Option<Timestamp>,
    pub(crate) absolute_expiry: Timestamp,
}

impl Session {
    /// Whom it stands for.
    pub(crate) fn bearer(&self) -> Option<Uuid> {
        self.user_id.or(self.device_id)
    }

    /// The family that its tokens act in.
    pub(crate) fn active_family(&self) -> Option<Uuid> {
        self.family_id
            .filter(|_| self.role.is_some() || self.device_id.is_some())
    }

    pub(crate) const fn aal_name(&self) -> &'static str {
        if self.aal >= 2 { "aal2" } else { "aal1" }
    }

    /// Until when the bearer counts as having proved itself a moment ago.
    pub(crate) fn elevation(&self, now: Timestamp) -> Option<Timestamp> {
        self.elevated_until.filter(|until| *until > now)
    }
}

/// What a signed-in client gets.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Tokens {
    /// For `Authorization: Bearer`.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// Seconds until the access token ends.
    pub expires_in: i64,
    /// Gets the next access token, once.
    pub refresh_token: String,
    /// The session, as the list of sessions shows it.
    pub session_id: Uuid,
    /// The active family.
    pub family_id: Option<Uuid>,
    /// The role in it.
    pub role: Option<String>,
    /// Who it is; nobody for a machine.
    pub user: Option<User>,
}

/// Begins a session for a person. `family` asks for one of their families; without it the last one is active again.
///
/// # Errors
///
/// What another plugin refuses a sign-in with; `FAMILY_NOT_FOUND`.
pub(crate) async fn begin(
    cx: &Cx<Auth>,
    user: &User,
    proof: Proof<'_>,
    family: Option<Uuid>,
    caller: &Caller,
) -> Result<Tokens> {
    if hooks::before_sign_in(cx, user, proof.amr, family, caller).await? {
        // Suspended while another plugin thought.
        accounts::find_by_id(&cx.db(), user.id)
            .await?
            .filter(|account| account.is_active)
            .ok_or_else(problem::bad_credentials)?;
    }
    let now = cx.clock().now()?;
    let config = &cx.plugin().config;
    let new = store::New {
        user_id: user.id,
        family,
        aal: if proof.has_two_factors { 2 } else { 1 },
        amr: proof.amr,
        caller,
        now,
        // A child's factors and address are its guardians' matter, so it is never let near what asks for a fresh proof.
        elevated_until: (!user.is_child()).then(|| now + minutes(config.step_up_minutes)),
        idle_expiry: now + days(config.session_idle_days),
        absolute_expiry: now + days(config.session_days),
        begun_by: proof.begun_by,
    };
    let session = store::insert(&cx.db(), &new).await?;
    // Asked once the session is there to be found: whoever brings the code again now ends it.
    if replay::has_come_again(&cx.db(), proof.begun_by).await? {
        let end = End::of("code_replayed", now);
        store::revoke(&cx.db(), &[session.id], end).await?;
        return Err(problem::bad_code());
    }
    if let Some(family) = family.filter(|family| session.active_family() != Some(*family)) {
        store::revoke(&cx.db(), &[session.id], End::of("family", now)).await?;
        return Err(problem::not_a_member(family));
    }
    first_tokens(cx, &session, Some(user.clone()), now).await
}

/// What a refresh token is good for: the next pair of tokens.
pub(crate) async fn refresh(
    cx: &Cx<Auth>,
    token: &str,
    family: Option<Uuid>,
    caller: &Caller,
) -> Result<Tokens> {
    let token =
        RefreshToken::read(token, &cx.plugin().keys.macs).ok_or_else(problem::bad_refresh)?;
    let now = cx.clock().now()?;
    let config = &cx.plugin().config;
    let turn = store::Rotation {
        token,
        family,
        now,
        idle: days(config.session_idle_days),
        device_idle: days(config.device_idle_days),
        ip: caller.ip,
    };
    // Asked before the session turns: a client whose turn is lost to a hook would come back with a token that was used.
    let extra = extra_after(cx, &turn).await?;
    match store::rotate(&cx.db(), &turn).await? {
        Some((session, user)) => sign(cx, &session, &extra, user, now),
        None => not_rotated(cx, token, family, now).await,
    }
}

/// What another plugin adds to the token after a turn.
async fn extra_after(cx: &Cx<Auth>, turn: &store::Rotation) -> Result<Extra> {
    if !hooks::has_claims(cx)? {
        return Ok(Extra::default());
    }
    match store::after(&cx.db(), turn).await? {
        Some(session) => hooks::claims(cx, &session).await,
        None => Ok(Extra::default()),
    }
}

/// Why a refresh token with a good MAC did not turn its session.
async fn not_rotated(
    cx: &Cx<Auth>,
    token: RefreshToken,
    family: Option<Uuid>,
    now: Timestamp,
) -> Result<Tokens> {
    let Some(standing) = store::standing(&cx.db(), token.session).await? else {
        return Err(problem::bad_refresh());
    };
    if standing.is_revoked {
        return Err(problem::session_ended());
    }
    if standing.ends_at <= now || !standing.is_bearer_active {
        return Err(problem::session_expired());
    }
    let grace = SignedDuration::from_secs(cx.plugin().config.refresh_grace_seconds.into());
    let behind = standing.generation - token.generation;
    match behind {
        // It would have turned, had the family been one of the caller's.
        0 => Err(family.map_or_else(problem::bad_refresh, problem::not_a_member)),
        // Ten tabs, or an answer that was lost: all get the one successor, and nothing is written.
        1 if now <= standing.rotated_at + grace => {
            match store::read(&cx.db(), token.session).await? {
                Some((session, user)) => tokens(cx, &session, user, now).await,
                None => Err(problem::session_ended()),
            }
        }
        // A token from the future: the database was restored from a backup. Nobody has stolen anything.
        behind if behind < 0 => Err(problem::bad_refresh()),
        _ => {
            end_reused(cx, token.session, now).await?;
            Err(problem::refresh_reused())
        }
    }
}

/// Ends a session whose refresh token was used twice, and tells its owner.
async fn end_reused(cx: &Cx<Auth>, session: Uuid, now: Timestamp) -> Result<()> {
    let transaction = cx.db().begin().await?;
    if let Some(Some(user_id)) = store::end_reused(&transaction, session, now).await?
        && let Some(account) = accounts::find_by_id(&transaction, user_id).await?
    {
        notify::of_reuse(cx, &transaction, &account.user).await?;
    }
    transaction.commit().await
}

/// For a write that gives its caller a way in, asked after it and before its commit: the write has waited for whoever takes
/// the account over or signs out at this moment, and the caller's token may not have heard of that yet.
///
/// # Errors
///
/// `SESSION_REVOKED`.
pub(crate) async fn must_go_on(db: &impl Queries, principal: &Principal) -> Result<()> {
    let user_id = principal.user()?;
    match principal.session_id {
        Some(id) if store::goes_on(db, id, user_id).await? => Ok(()),
        _ => Err(problem::session_ended()),
    }
}

/// Ends sessions: their refresh tokens at once, their access tokens as soon as every host has heard, which is well within
/// a second.
pub(crate) async fn end(queries: &impl Queries, ids: &[Uuid], end: End<'_>) -> Result<()> {
    if !ids.is_empty() {
        store::revoke(queries, ids, end).await?;
    }
    Ok(())
}

/// Ends the session of a refresh token, also of an old one; does nothing for what is none.
pub(crate) async fn end_by_token(cx: &Cx<Auth>, token: &str) -> Result<()> {
    let Some(token) = RefreshToken::read(token, &cx.plugin().keys.macs) else {
        return Ok(());
    };
    let now = cx.clock().now()?;
    end(&cx.db(), &[token.session], End::of("signed_out", now)).await
}

/// The tokens of a session that goes on.
///
/// # Errors
///
/// What another plugin refuses them with.
pub(crate) async fn tokens(
    cx: &Cx<Auth>,
    session: &Session,
    user: Option<User>,
    now: Timestamp,
) -> Result<Tokens> {
    let extra = hooks::claims(cx, session).await?;
    sign(cx, session, &extra, user, now)
}

/// The first tokens of a session. One that gets none ends: nobody could go on with it.
///
/// # Errors
///
/// What another plugin refuses them with.
pub(crate) async fn first_tokens(
    cx: &Cx<Auth>,
    session: &Session,
    user: Option<User>,
    now: Timestamp,
) -> Result<Tokens> {
    let tokens = tokens(cx, session, user, now).await;
    if tokens.is_err() {
        store::revoke(&cx.db(), &[session.id], End::of("hook", now)).await?;
    }
    tokens
}

fn sign(
    cx: &Cx<Auth>,
    session: &Session,
    extra: &Extra,
    user: Option<User>,
    now: Timestamp,
) -> Result<Tokens> {
    let access = access::issue(cx, session, extra, now)?;
    let refresh = RefreshToken {
        session: session.id,
        generation: session.generation,
    };
    Ok(Tokens {
        access_token: access.token,
        token_type: "Bearer",
        expires_in: access.expires_in,
        refresh_token: refresh.write(&cx.plugin().keys.macs),
        session_id: session.id,
        family_id: session.active_family(),
        role: session.role.clone(),
        user,
    })
}

pub(crate) fn days(days: u32) -> SignedDuration {
    SignedDuration::from_hours(i64::from(days) * 24)
}

pub(crate) fn minutes(minutes: u32) -> SignedDuration {
    SignedDuration::from_mins(minutes.into())
}

/// One of a person's sessions, as its owner sees it.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Shown {
    /// Names it when it is to be ended.
    pub id: Uuid,
    /// The app, as it named itself.
    pub client: Option<String>,
    /// The browser or system, as it named itself.
    pub user_agent: Option<String>,
    /// Where it was last used from.
    pub ip: Option<String>,
    /// When somebody signed in.
    pub created_at: Timestamp,
    /// When its tokens were last renewed.
    pub last_used_at: Timestamp,
    /// Whether it is the one that asks.
    pub is_current: bool,
}

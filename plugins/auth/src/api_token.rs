//! Tokens that nobody signs in for: those that a person makes for scripts, and an operator for services.
//!
//! A word that names the kind, and 32 random bytes. Only a MAC is stored, so a copy of the database opens nothing, and a
//! token is shown once. Neither kind is good for a route by itself: it is exchanged for an access token that ends soon.

use nself_plugin_api::{
    jiff::{SignedDuration, Timestamp},
    prelude::*,
    serde_json::json,
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    Auth,
    access::{self, AccessToken},
    account::User,
    caller::Caller,
    hooks,
    mac::Purpose,
    notify, problem, secret,
    session::{self, Tokens},
    store::{
        accounts::{self, Account},
        api_tokens as store, sessions,
    },
};

/// Random bytes of a token.
const SECRET_BYTES: u32 = 32;

/// Characters of a token's secret that its owner sees again in the list.
const SHOWN_CHARS: usize = 4;

/// Living tokens of one person, and of all services together.
const TOKENS_MAX: i64 = 50;

/// How long a token that says nothing of its end is good, and the longest that one may ask for.
const LIFE: SignedDuration = SignedDuration::from_hours(90 * 24);
const LIFE_MAX: SignedDuration = SignedDuration::from_hours(366 * 24);

/// How long a script's session lives at most: it can exchange its token again whenever it likes.
const SESSION_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// How a script's session was proved.
const AMR: &[&str] = &["pat"];

/// Whose token it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A person's.
    Personal,
    /// A service's.
    Service,
}

impl Kind {
    /// What a token begins with, so that scanners for leaked secrets know it.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::Personal => "nspat_",
            Self::Service => "nssvc_",
        }
    }
}

/// A token as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct ApiToken {
    pub(crate) id: Uuid,
    pub(crate) user_id: Option<Uuid>,
    pub(crate) family_id: Option<Uuid>,
    pub(crate) scopes: Vec<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
}

/// A token as its owner sees it in the list.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Shown {
    /// Names it when it is to be ended; a service is known by it.
    pub id: Uuid,
    /// What its owner called it.
    pub name: String,
    /// Its first characters.
    pub prefix: String,
    /// The only family that it acts in.
    pub family_id: Option<Uuid>,
    /// What a service may do.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was last exchanged.
    pub last_used_at: Option<Timestamp>,
}

/// A token that was just made: the only answer that has it whole.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Made {
    /// Keep it: it is not shown again.
    pub token: String,
    /// Names it when it is to be ended.
    pub id: Uuid,
    /// What its owner called it.
    pub name: String,
    /// Its first characters.
    pub prefix: String,
    /// The only family that it acts in.
    pub family_id: Option<Uuid>,
    /// What a service may do.
    pub scopes: Vec<String>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// What a person asks for.
pub(crate) struct Wish<'a> {
    pub(crate) name: &'a str,
    pub(crate) family_id: Option<Uuid>,
    pub(crate) expires_at: Option<Timestamp>,
}

/// Makes a token for a person's scripts, and tells them by mail.
///
/// # Errors
///
/// `STEP_UP_REQUIRED`; `ACCOUNT_ANONYMOUS`; `FAMILY_NOT_FOUND`; what is wrong with name or end; `TOO_MANY_TOKENS`.
pub(crate) async fn make(
    cx: &Cx<Auth>,
    principal: &Principal,
    wish: Wish<'_>,
    caller: &Caller,
) -> Result<Made> {
    let user_id = principal.user()?;
    if !principal.elevated {
        return Err(problem::step_up());
    }
    let account = accounts::find_by_id(&cx.db(), user_id)
        .await?
        .ok_or_else(problem::session_ended)?;
    if account.user.is_anonymous {
        return Err(problem::anonymous());
    }
    if let Some(family) = wish.family_id {
        let families = accounts::memberships(&cx.db(), user_id).await?;
        if !families.iter().any(|one| one.family_id == family) {
            return Err(problem::not_a_member(family));
        }
    }
    let now = cx.clock().now()?;
    let expires_at = end(wish.expires_at, now)?;
    let new = Draft {
        kind: Kind::Personal,
        user_id: Some(user_id),
        family_id: wish.family_id,
        name: name(wish.name)?,
        scopes: &[],
        expires_at: Some(expires_at),
    };
    keep(cx, &new, principal, Some((&account.user, caller))).await
}

/// Makes a token for a service. It has no person and no family, and reaches what its scopes name.
///
/// # Errors
///
/// What is wrong with the name, the scopes or the end; `TOO_MANY_TOKENS`.
pub(crate) async fn make_service(
    cx: &Cx<Auth>,
    operator: &Principal,
    wish: Wish<'_>,
    scopes: &[String],
) -> Result<Made> {
    let now = cx.clock().now()?;
    if scopes.is_empty() || scopes.len() > 32 || !scopes.iter().all(|scope| is_scope(scope)) {
        return Err(Error::invalid(
            "SCOPE_INVALID",
            "scopes: expected 1 to 32 words such as auth.introspect, of small letters, digits and . _ : -",
        ));
    }
    let new = Draft {
        kind: Kind::Service,
        user_id: None,
        family_id: None,
        name: name(wish.name)?,
        scopes,
        // A service runs for years; whoever wants an end says so.
        expires_at: wish
            .expires_at
            .map(|at| if at > now { Ok(at) } else { Err(bad_end()) })
            .transpose()?,
    };
    keep(cx, &new, operator, None).await
}

struct Draft<'a> {
    kind: Kind,
    user_id: Option<Uuid>,
    family_id: Option<Uuid>,
    name: &'a str,
    scopes: &'a [String],
    expires_at: Option<Timestamp>,
}

async fn keep(
    cx: &Cx<Auth>,
    draft: &Draft<'_>,
    maker: &Principal,
    told: Option<(&User, &Caller)>,
) -> Result<Made> {
    let now = cx.clock().now()?;
    let token = format!("{}{}", draft.kind.prefix(), secret::text(cx, SECRET_BYTES)?);
    let prefix = &token[..draft.kind.prefix().len() + SHOWN_CHARS];
    let mac = secret::mac(cx, Purpose::ApiToken, &token);
    let transaction = cx.db().begin().await?;
    if store::count(&transaction, draft.user_id, now).await? >= TOKENS_MAX {
        return Err(Error::conflict(
            "TOO_MANY_TOKENS",
            format!("there are {TOKENS_MAX} tokens already: end one that is not needed any more"),
        ));
    }
    let new = store::New {
        user_id: draft.user_id,
        family_id: draft.family_id,
        name: draft.name,
        prefix,
        mac: &mac,
        scopes: draft.scopes,
        now,
        expires_at: draft.expires_at,
    };
    let id = store::insert(&transaction, &new).await?;
    let details = json!({
        "name": draft.name, "user_id": draft.user_id, "family_id": draft.family_id, "scopes": draft.scopes,
        "expires_at": draft.expires_at,
    });
    store::audit(
        &transaction,
        "auth.token_made",
        id,
        &details,
        &maker.subject,
    )
    .await?;
    if draft.user_id.is_some() {
        session::must_go_on(&transaction, maker).await?;
    }
    if let Some((user, caller)) = told {
        notify::of_change(cx, &transaction, user, "auth/token-made", caller).await?;
    }
    transaction.commit().await?;
    Ok(Made {
        id,
        name: draft.name.to_owned(),
        prefix: prefix.to_owned(),
        family_id: draft.family_id,
        scopes: draft.scopes.to_vec(),
        expires_at: draft.expires_at,
        token,
    })
}

/// Ends a token of the person's, or a service (`owner` is nobody), with the sessions that it began.
///
/// # Errors
///
/// `TOKEN_NOT_FOUND`, the same for somebody else's.
pub(crate) async fn revoke(
    cx: &Cx<Auth>,
    owner: Option<Uuid>,
    id: Uuid,
    actor: &str,
) -> Result<()> {
    let transaction = cx.db().begin().await?;
    if !store::revoke(&transaction, owner, id, cx.clock().now()?).await? {
        return Err(Error::not_found(
            "TOKEN_NOT_FOUND",
            "there is no such token of yours",
        ));
    }
    let details = json!({"user_id": owner});
    store::audit(&transaction, "auth.token_revoked", id, &details, actor).await?;
    transaction.commit().await
}

/// Exchanges a person's token for a session. Nobody was there to prove anything, so it has one factor, and no change that
/// needs a fresh proof is possible in it, whatever is proved later. It ends with the token.
///
/// # Errors
///
/// `API_TOKEN_INVALID`; `FAMILY_NOT_FOUND` for another family than the token's; what another plugin refuses it with.
pub(crate) async fn exchange(
    cx: &Cx<Auth>,
    text: &str,
    family: Option<Uuid>,
    caller: &Caller,
) -> Result<Tokens> {
    let now = cx.clock().now()?;
    let token = find(cx, Kind::Personal, text, now)
        .await?
        .ok_or_else(problem::bad_api_token)?;
    let user_id = token.user_id.ok_or_else(problem::bad_api_token)?;
    let account = owner(cx, user_id).await?;
    let chosen = token.family_id.or(family);
    if let Some(family) = family.filter(|family| chosen != Some(*family)) {
        return Err(problem::not_a_member(family));
    }
    if hooks::before_sign_in(cx, &account.user, AMR, chosen, caller).await? {
        // Ended while another plugin thought.
        find(cx, Kind::Personal, text, now)
            .await?
            .ok_or_else(problem::bad_api_token)?;
        owner(cx, user_id).await?;
    }
    let ends_at = token
        .expires_at
        .map_or(now + SESSION_LIFE, |at| at.min(now + SESSION_LIFE));
    let new = sessions::New {
        user_id,
        family: chosen,
        aal: 1,
        amr: AMR,
        caller,
        now,
        elevated_until: None,
        idle_expiry: ends_at,
        absolute_expiry: ends_at,
        begun_by: None,
    };
    let transaction = cx.db().begin().await?;
    let session = sessions::insert(&transaction, &new).await?;
    if let Some(family) = chosen.filter(|family| session.active_family() != Some(*family)) {
        return Err(problem::not_a_member(family));
    }
    store::bind(&transaction, session.id, token.id).await?;
    // Read again: what it says depends on the token.
    let (session, _) = sessions::read(&transaction, session.id)
        .await?
        .ok_or_else(problem::session_ended)?;
    store::touch(&transaction, token.id, now).await?;
    transaction.commit().await?;
    session::first_tokens(cx, &session, Some(account.user), now).await
}

async fn owner(cx: &Cx<Auth>, user_id: Uuid) -> Result<Account> {
    accounts::find_by_id(&cx.db(), user_id)
        .await?
        .filter(|account| account.is_active)
        .ok_or_else(problem::bad_api_token)
}

/// Exchanges a service's token for an access token.
///
/// # Errors
///
/// `API_TOKEN_INVALID`.
pub(crate) async fn exchange_service(
    cx: &Cx<Auth>,
    text: &str,
) -> Result<(AccessToken, Vec<String>)> {
    let now = cx.clock().now()?;
    let service = find(cx, Kind::Service, text, now)
        .await?
        .ok_or_else(problem::bad_api_token)?;
    store::touch(&cx.db(), service.id, now).await?;
    let access = access::issue_to_service(cx, &service, now)?;
    Ok((access, service.scopes))
}

/// The living token that this text is.
pub(crate) async fn find(
    cx: &Cx<Auth>,
    kind: Kind,
    text: &str,
    now: Timestamp,
) -> Result<Option<ApiToken>> {
    let length = kind.prefix().len() + (SECRET_BYTES as usize * 4).div_ceil(3);
    if !text.starts_with(kind.prefix()) || text.len() != length {
        return Ok(None);
    }
    let macs = secret::macs(cx, Purpose::ApiToken, text);
    store::find(&cx.db(), &macs, now).await
}

fn name(text: &str) -> Result<&str> {
    let name = text.trim();
    if name.is_empty() || name.chars().count() > 100 || name.contains(char::is_control) {
        return Err(Error::invalid(
            "TOKEN_NAME_INVALID",
            "name: expected 1 to 100 characters, and no control characters",
        ));
    }
    Ok(name)
}

fn end(wished: Option<Timestamp>, now: Timestamp) -> Result<Timestamp> {
    let at = wished.unwrap_or(now + LIFE);
    if at > now && at <= now + LIFE_MAX {
        Ok(at)
    } else {
        Err(bad_end())
    }
}

fn bad_end() -> Error {
    Error::invalid(
        "TOKEN_END_INVALID",
        "expires_at: expected a time to come; a person's token ends within 366 days",
    )
}

/// Whether a word may be a scope. A star is none: no token opens everything.
fn is_scope(text: &str) -> bool {
    let is_sign =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._:-".contains(&byte);
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(is_sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_a_plain_word() {
        for scope in ["auth.introspect", "mail.send", "a", "jobs:read-all"] {
            assert!(is_scope(scope), "{scope}");
        }
        for scope in ["", "*", "Auth", ".a", "a b", "a*", &"a".repeat(65)] {
            assert!(!is_scope(scope), "{scope}");
        }
    }

    #[test]
    fn a_token_ends_within_a_year() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(end(None, now).expect("an end"), now + LIFE);
        assert!(end(Some(now), now).is_err());
        assert!(end(Some(now + LIFE_MAX), now).is_ok());
        assert!(end(Some(Timestamp::MAX), now).is_err());
    }
}

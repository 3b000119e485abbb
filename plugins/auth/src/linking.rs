//! Whose account it is when somebody signs in with another place.
//!
//! A person there is an issuer and a subject: an address can be given to somebody else, a subject cannot. An address links
//! to the account that has it only when the place says that it is verified and is trusted to know. In every other case
//! somebody who has an account signs in to it first, and links there: else whoever made an account elsewhere with
//! somebody's address would get into theirs.

use nself_plugin_api::{
    capability::db::Transaction,
    prelude::*,
    serde_json::{Value, json},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Auth, SignUp,
    account::User,
    caller::Caller,
    hooks::{self, Origin, Registration, Way},
    introspection,
    newcomer::Newcomer,
    notify, problem,
    provider::{Profile, Provider},
    registration::take_over,
    store::{
        accounts,
        identities::{self, Identity},
        sessions,
    },
};

/// Who is signed in, and where.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) user_id: Uuid,
    pub(crate) session_id: Uuid,
}

impl Owner {
    /// Who holds an access token, if they may change their ways to sign in: they have proved a moment ago who they are, and
    /// are no child, whose ways are its guardians' matter.
    ///
    /// # Errors
    ///
    /// `SESSION_REVOKED`, `STEP_UP_REQUIRED`, `CHILD_ACCOUNT`.
    pub(crate) async fn of_token(cx: &Cx<Auth>, token: &str) -> Result<Self> {
        let now = cx.clock().now()?;
        let found = introspection::of_access(cx, token, now).await?;
        let session_id = found.and_then(|found| found.sid);
        let session_id = session_id.ok_or_else(problem::session_ended)?;
        let found = sessions::read(&cx.db(), session_id).await?;
        let Some((session, Some(user))) = found else {
            return Err(problem::session_ended());
        };
        if session.elevation(now).is_none() {
            return Err(problem::step_up());
        }
        if user.is_child() {
            return Err(problem::child_account());
        }
        Ok(Self {
            user_id: user.id,
            session_id,
        })
    }
}

/// How often it is looked again: after a race with another sign-in of the same person, and once another plugin was asked.
const TRIES: u32 = 4;

/// The account of who has signed in there; a new one for who has none, with what their app says of them.
///
/// # Errors
///
/// `LINK_REQUIRES_SIGN_IN` when an account has the address already; `SIGN_UP_CLOSED`; what another plugin refuses a new one
/// with.
pub(crate) async fn account_of(
    cx: &Cx<Auth>,
    provider: &Provider,
    profile: &Profile,
    newcomer: &Newcomer,
    caller: &Caller,
) -> Result<Uuid> {
    let person = Person::new(provider, profile, newcomer, caller);
    let mut may_make = !hooks::may_refuse_registration(cx)?;
    for _ in 0..TRIES {
        let transaction = cx.db().begin().await?;
        let found = match find(cx, &transaction, provider, profile).await? {
            Found::Nobody => {
                check_sign_up(cx, &transaction, person.email).await?;
                if may_make {
                    make(cx, &transaction, provider, profile, &person).await?
                } else {
                    Found::Nobody
                }
            }
            found => found,
        };
        match found {
            Found::Known(user_id) | Found::Made(user_id) => {
                transaction.commit().await?;
                return Ok(user_id);
            }
            Found::Linked(user) => {
                notify::of_change(cx, &transaction, &user, "auth/new-sign-in", caller).await?;
                transaction.commit().await?;
                return Ok(user.id);
            }
            Found::Nobody => {
                // Nothing is held while another plugin thinks.
                drop(transaction);
                ask(cx, provider, &person, caller).await?;
                may_make = true;
            }
            // Somebody was faster with the address or the identity: it is there now.
            Found::Raced => {}
        }
    }
    Err(problem::link_requires_sign_in())
}

/// Asks whether somebody who has no account may have one.
async fn ask(
    cx: &Cx<Auth>,
    provider: &Provider,
    person: &Person<'_>,
    caller: &Caller,
) -> Result<()> {
    let registration = Registration {
        way: Way::Provider,
        email: person.email,
        display_name: person.name,
        locale: person.language,
        provider: Some(&provider.slug),
        user_id: None,
        is_invited: false,
        from: Origin::caller(caller),
    };
    hooks::before_register(cx, &registration).await
}

/// The address, where the place vouches for it and is trusted to know.
fn proved<'a>(provider: &Provider, profile: &'a Profile) -> Option<&'a str> {
    let is_proved = profile.is_email_verified && provider.trusts_email;
    profile.email.as_deref().filter(|_| is_proved)
}

/// Who gets an account.
struct Person<'a> {
    email: Option<&'a str>,
    name: &'a str,
    language: &'a str,
    /// What an app keeps of them.
    profile: Option<&'a Value>,
}

impl<'a> Person<'a> {
    fn new(
        provider: &Provider,
        profile: &'a Profile,
        newcomer: &'a Newcomer,
        caller: &'a Caller,
    ) -> Self {
        Self {
            email: proved(provider, profile),
            name: newcomer.display_name.as_deref().unwrap_or(&profile.name),
            language: newcomer.locale.as_deref().unwrap_or(&caller.language),
            profile: newcomer.profile.as_ref(),
        }
    }
}

/// How an account was found.
enum Found {
    Known(Uuid),
    Linked(User),
    Made(Uuid),
    /// There is none.
    Nobody,
    /// Another sign-in of the same person has got in between.
    Raced,
}

async fn find(
    cx: &Cx<Auth>,
    transaction: &Transaction,
    provider: &Provider,
    profile: &Profile,
) -> Result<Found> {
    let now = cx.clock().now()?;
    if let Some(user_id) = identities::used(transaction, profile, now).await? {
        return Ok(Found::Known(user_id));
    }
    // An address that the place itself does not vouch for is not even looked up: anybody can claim it, and would learn
    // from the answer whether it has an account.
    let claimed = profile
        .email
        .as_deref()
        .filter(|_| profile.is_email_verified);
    let Some(claimed) = claimed else {
        return Ok(Found::Nobody);
    };
    let Some(account) = accounts::find_by_email(transaction, claimed).await? else {
        return Ok(Found::Nobody);
    };
    let email = proved(provider, profile)
        .filter(|_| account.is_active)
        .ok_or_else(problem::link_requires_sign_in)?;
    if !account.user.is_email_verified {
        take_over(transaction, account.user.id, now).await?;
        accounts::verify_email(transaction, account.user.id, email, now).await?;
    }
    let is_linked = insert(cx, transaction, provider, profile, account.user.id).await?;
    Ok(if is_linked {
        Found::Linked(account.user)
    } else {
        Found::Raced
    })
}

async fn make(
    cx: &Cx<Auth>,
    transaction: &Transaction,
    provider: &Provider,
    profile: &Profile,
    person: &Person<'_>,
) -> Result<Found> {
    let now = cx.clock().now()?;
    let Person {
        email,
        name,
        language,
        ..
    } = person;
    let user = identities::insert_person(transaction, *email, name, language, now).await?;
    let Some(user_id) = user else {
        return Ok(Found::Raced);
    };
    if let Some(kept) = person.profile {
        accounts::set_profile(transaction, user_id, kept).await?;
    }
    identities::announce(transaction, user_id).await?;
    let is_linked = insert(cx, transaction, provider, profile, user_id).await?;
    Ok(if is_linked {
        Found::Made(user_id)
    } else {
        Found::Raced
    })
}

/// Where sign-up is closed, a proved address that was invited opens it.
async fn check_sign_up(
    cx: &Cx<Auth>,
    transaction: &Transaction,
    proved: Option<&str>,
) -> Result<()> {
    if cx.plugin().config.sign_up != SignUp::Closed {
        return Ok(());
    }
    let now = cx.clock().now()?;
    match proved {
        Some(email) if identities::is_invited(transaction, email, now).await? => Ok(()),
        _ => Err(problem::sign_up_closed()),
    }
}

/// Writes the link and its entry in the audit log; false when there is one already.
async fn insert(
    cx: &Cx<Auth>,
    transaction: &Transaction,
    provider: &Provider,
    profile: &Profile,
    user_id: Uuid,
) -> Result<bool> {
    let now = cx.clock().now()?;
    if !identities::insert(transaction, user_id, &provider.slug, profile, now).await? {
        return Ok(false);
    }
    let details = json!({"provider": provider.slug, "issuer": profile.issuer});
    accounts::audit(transaction, "auth.identity_linked", user_id, &details).await?;
    Ok(true)
}

/// Links a person elsewhere to the account of who is signed in here.
///
/// # Errors
///
/// `IDENTITY_TAKEN` when that person has another account here; `SESSION_REVOKED` when who asks is not signed in any more.
pub(crate) async fn link(
    cx: &Cx<Auth>,
    provider: &Provider,
    profile: &Profile,
    owner: Owner,
    caller: &Caller,
) -> Result<Identity> {
    let transaction = cx.db().begin().await?;
    let is_new = insert(cx, &transaction, provider, profile, owner.user_id).await?;
    // Looked at after the insert, which waits for whoever takes the account over at this moment, and ends its sessions: the
    // token may not have heard of that yet.
    let (_, user) = sessions::read(&transaction, owner.session_id)
        .await?
        .ok_or_else(problem::session_ended)?;
    let user = user.filter(|user| user.id == owner.user_id);
    let user = user.ok_or_else(problem::session_ended)?;
    let identity = identities::find(&transaction, profile, owner.user_id)
        .await?
        .ok_or_else(|| {
            Error::conflict(
                "IDENTITY_TAKEN",
                "this person of the other place has another account here: sign in with it, and unlink it there first",
            )
        })?;
    identities::settle(&transaction, owner.user_id).await?;
    if is_new {
        notify::of_change(cx, &transaction, &user, "auth/new-sign-in", caller).await?;
    }
    transaction.commit().await?;
    Ok(identity)
}

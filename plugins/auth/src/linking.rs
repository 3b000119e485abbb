//! Whose account it is when somebody signs in with another place.
//!
//! A person there is an issuer and a subject: an address can be given to somebody else, a subject cannot. An address links
//! to the account that has it only when the place says that it is verified and is trusted to know. In every other case
//! somebody who has an account signs in to it first, and links there: else whoever made an account elsewhere with
//! somebody's address would get into theirs.

use nself_plugin_api::{capability::db::Transaction, prelude::*, serde_json::json};
use uuid::Uuid;

use crate::{
    Auth, SignUp,
    account::User,
    caller::Caller,
    hooks::{self, Origin, Registration, Way},
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
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) user_id: Uuid,
    pub(crate) session_id: Uuid,
}

/// How often it is looked again: after a race with another sign-in of the same person, and once another plugin was asked.
const TRIES: u32 = 4;

/// The account of who has signed in there; a new one for who has none.
///
/// # Errors
///
/// `LINK_REQUIRES_SIGN_IN` when an account has the address already; `SIGN_UP_CLOSED`; what another plugin refuses a new one
/// with.
pub(crate) async fn account_of(
    cx: &Cx<Auth>,
    provider: &Provider,
    profile: &Profile,
    caller: &Caller,
) -> Result<Uuid> {
    let mut may_make = !hooks::may_refuse_registration(cx)?;
    for _ in 0..TRIES {
        let transaction = cx.db().begin().await?;
        match find_or_make(cx, &transaction, provider, profile, may_make, caller).await? {
            Found::Known(user_id) | Found::Made(user_id) => {
                transaction.commit().await?;
                return Ok(user_id);
            }
            Found::Linked(user) => {
                transaction.commit().await?;
                notify::of_change(cx, &user, "auth/new-sign-in", caller);
                return Ok(user.id);
            }
            Found::Nobody => {
                // Nothing is held while another plugin thinks.
                drop(transaction);
                ask(cx, provider, profile, caller).await?;
                may_make = true;
            }
            // Somebody was faster with the address or the identity: it is there now.
            Found::Raced => {}
        }
    }
    Err(problem::link_requires_sign_in())
}

/// Asks whether somebody who has no account may have one.
async fn ask(cx: &Cx<Auth>, provider: &Provider, profile: &Profile, caller: &Caller) -> Result<()> {
    let registration = Registration {
        way: Way::Provider,
        email: proved(provider, profile),
        display_name: &profile.name,
        locale: &caller.language,
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

/// How an account was found.
enum Found {
    Known(Uuid),
    Linked(User),
    Made(Uuid),
    /// There is none, and it has to be asked whether one may be made.
    Nobody,
    /// Another sign-in of the same person has got in between.
    Raced,
}

async fn find_or_make(
    cx: &Cx<Auth>,
    transaction: &Transaction,
    provider: &Provider,
    profile: &Profile,
    may_make: bool,
    caller: &Caller,
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
    let proved = proved(provider, profile);
    let taken = match claimed {
        Some(email) => accounts::find_by_email(transaction, email).await?,
        None => None,
    };
    if let Some(account) = taken {
        let email = proved
            .filter(|_| account.is_active)
            .ok_or_else(problem::link_requires_sign_in)?;
        if !account.user.is_email_verified {
            take_over(transaction, account.user.id, now).await?;
            accounts::verify_email(transaction, account.user.id, email, now).await?;
        }
        let is_linked = insert(cx, transaction, provider, profile, account.user.id).await?;
        return Ok(if is_linked {
            Found::Linked(account.user)
        } else {
            Found::Raced
        });
    }
    check_sign_up(cx, transaction, proved).await?;
    if !may_make {
        return Ok(Found::Nobody);
    }
    let (name, language) = (&*profile.name, &*caller.language);
    let user = identities::insert_person(transaction, proved, name, language, now).await?;
    let Some(user_id) = user else {
        return Ok(Found::Raced);
    };
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
    transaction.commit().await?;
    if is_new {
        notify::of_change(cx, &user, "auth/new-sign-in", caller);
    }
    Ok(identity)
}

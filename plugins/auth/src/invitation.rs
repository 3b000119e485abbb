//! Invitations into a family: by mail, for who proves that address; or as a link, for who has it.
//!
//! An invitation never gives more than its maker could give at the moment when it is used: who was removed or has become
//! less since then has left nothing behind.

use nself_plugin_api::{
    capability::db::Transaction,
    jiff::{SignedDuration, Timestamp},
    prelude::*,
    serde_json::Value,
    tracing::info,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Auth, account,
    account::User,
    family::FamilyRole,
    mac::Purpose,
    problem, secret,
    store::{
        accounts,
        families::{self, Past},
        invitations as store, sessions,
    },
};

/// Bytes of a token.
pub(crate) const TOKEN_BYTES: u32 = 24;

/// Most invitations of one family that are open at a time.
pub(crate) const OPEN_MAX: usize = 200;

/// How long an invitation is open unless its maker says otherwise.
pub(crate) const DAYS: u32 = 7;

pub(crate) fn lifetime(days: u32) -> SignedDuration {
    SignedDuration::from_hours(i64::from(days) * 24)
}

/// An invitation that is open: neither used up, revoked nor too old, and still its maker's to make.
#[derive(Debug, Clone)]
pub(crate) struct Invitation {
    pub(crate) id: Uuid,
    pub(crate) family_id: Uuid,
    pub(crate) family_name: String,
    pub(crate) role: FamilyRole,
    /// The address that it is bound to.
    pub(crate) email: Option<String>,
    pub(crate) inviter_id: Uuid,
    pub(crate) inviter_name: String,
    pub(crate) uses_max: i32,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// The open invitation of a token.
///
/// # Errors
///
/// `CODE_INVALID`, the same for every reason.
pub(crate) async fn find(cx: &Cx<Auth>, db: &impl Queries, token: &str) -> Result<Invitation> {
    let now = cx.clock().now()?;
    let macs = secret::macs(cx, Purpose::Invitation, token);
    let found = store::find_open(db, &cx.plugin().powers, store::By::Token(&macs), now).await?;
    found.ok_or_else(problem::bad_code)
}

/// Makes a person a member by an invitation; the membership's id.
///
/// # Errors
///
/// `CODE_INVALID` when it is not open any more, or not for them; 409 for who is a member already.
pub(crate) async fn join(
    cx: &Cx<Auth>,
    tx: &Transaction,
    invitation: &Invitation,
    user: &User,
    now: Timestamp,
) -> Result<Uuid> {
    families::lock(tx, invitation.family_id).await?;
    // Read again behind the lock: of many who come at once, as many get in as it is good for.
    let invitation = store::find_open(tx, &cx.plugin().powers, store::By::Id(invitation.id), now)
        .await?
        .ok_or_else(problem::bad_code)?;
    let is_theirs = |email: &String| user.is_email_verified && user.email.as_ref() == Some(email);
    if !invitation.email.as_ref().is_none_or(is_theirs) {
        return Err(problem::bad_code());
    }
    match families::past(tx, invitation.family_id, user.id).await? {
        Past::Lasting => return Err(problem::already_a_member()),
        // Who was removed does not come back by a link from before.
        Past::LeftAt(left_at) if left_at >= invitation.created_at => {
            return Err(problem::bad_code());
        }
        Past::LeftAt(_) | Past::Never => {}
    }
    families::may_join_another(tx, user.id).await?;
    families::has_room(tx, invitation.family_id).await?;
    store::use_once(tx, invitation.id).await?;
    let family_id = invitation.family_id;
    let joining = families::Joining {
        family_id,
        user_id: user.id,
        role: invitation.role,
        invited_by: Some(invitation.inviter_id),
        actor: user.id,
        more: nself_plugin_api::serde_json::json!({"invitation_id": invitation.id}),
    };
    let member_id = families::join(tx, &joining).await?;
    sessions::outdate(tx, user.id, family_id, now).await?;
    Ok(member_id)
}

/// What a registration remembers of its invitation until the address is proved.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Invited {
    invitation_id: Uuid,
}

impl Invited {
    /// That of a registration with an invitation's token.
    ///
    /// # Errors
    ///
    /// `CODE_INVALID` also when the invitation is for another address.
    pub(crate) async fn register(cx: &Cx<Auth>, token: &str, email: &str) -> Result<Self> {
        let email = account::email(email)?;
        let invitation = find(cx, &cx.db(), token).await?;
        if invitation.email.is_some_and(|bound| bound != email) {
            return Err(problem::bad_code());
        }
        Ok(Self {
            invitation_id: invitation.id,
        })
    }

    /// Reads it back from where the registration waits.
    pub(crate) fn read(payload: &Value) -> Option<Self> {
        Self::deserialize(payload.get("invited")?).ok()
    }

    /// Makes the new account a member, now that its address is proved. What has become of the invitation meanwhile only
    /// matters where there is no account without one.
    ///
    /// # Errors
    ///
    /// `CODE_INVALID` where it matters.
    pub(crate) async fn join_on_proof(
        &self,
        cx: &Cx<Auth>,
        tx: &Transaction,
        user_id: Uuid,
        may_do_without: bool,
        now: Timestamp,
    ) -> Result<()> {
        let account = accounts::find_by_id(tx, user_id).await?;
        let account = account.ok_or_else(problem::bad_code)?;
        let (powers, by) = (&cx.plugin().powers, store::By::Id(self.invitation_id));
        let joined = match store::find_open(tx, powers, by, now).await? {
            Some(invitation) => join(cx, tx, &invitation, &account.user, now).await,
            None => Err(problem::bad_code()),
        };
        match joined {
            Ok(_) => Ok(()),
            Err(error) if may_do_without && error.status() < 500 => {
                info!(code = error.code(), "an account begins without its family");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

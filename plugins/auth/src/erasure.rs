//! The end of an account, whoever asks for it: its owner, or an operator.
//!
//! It touches what others touch at the same time: somebody signs out, a machine is taken off, a member is changed. So that no
//! two of them wait for each other, all lock in one order: the person, the families, their machines, sessions (several by
//! their ids), memberships, and the audit log last.

use nself_plugin_api::{
    capability::db::Transaction, jiff::Timestamp, prelude::*, serde_json::json,
};
use uuid::Uuid;

use crate::{
    Auth,
    caller::Caller,
    notify, problem,
    store::{
        accounts,
        audit::{self, New},
        erasure,
    },
};

/// The constraint that a family has an owner, looked at when a transaction commits.
const OWNER_CHECK: &str = "family_members_owner_check";

/// Deletes an account in one transaction, and tells its owner; whether there was one.
///
/// # Errors
///
/// 409 `LAST_OWNER` with the families that would be left to nobody.
pub(crate) async fn erase(
    cx: &Cx<Auth>,
    user_id: Uuid,
    actor: &str,
    caller: &Caller,
) -> Result<bool> {
    let now = cx.clock().now()?;
    let transaction = cx.db().begin().await?;
    if !erasure::lock(&transaction, user_id).await? {
        return Ok(false);
    }
    // While there is an address to write to.
    if let Some(account) = accounts::find_by_id(&transaction, user_id).await? {
        let template = "auth/account-deleted";
        notify::of_change(cx, &transaction, &account.user, template, caller).await?;
    }
    erase_locked(transaction, user_id, actor, now).await?;
    Ok(true)
}

/// Deletes an anonymous account that nobody has used since then; whether it was one.
///
/// # Errors
///
/// As [`erase`].
pub(crate) async fn erase_unused(
    cx: &Cx<Auth>,
    user_id: Uuid,
    since: Timestamp,
    actor: &str,
) -> Result<bool> {
    let now = cx.clock().now()?;
    let transaction = cx.db().begin().await?;
    if !erasure::lock_unused(&transaction, user_id, since).await? {
        return Ok(false);
    }
    erase_locked(transaction, user_id, actor, now).await?;
    Ok(true)
}

async fn erase_locked(
    transaction: Transaction,
    user_id: Uuid,
    actor: &str,
    now: Timestamp,
) -> Result<()> {
    erasure::lock_families(&transaction, user_id).await?;
    let owned = erasure::solely_owned(&transaction, user_id).await?;
    let (shared, alone): (Vec<_>, Vec<_>) = owned.into_iter().partition(|family| family.has_others);
    if !shared.is_empty() {
        return Err(problem::last_owner_of(&shared));
    }
    let alone: Vec<Uuid> = alone.iter().map(|family| family.family_id).collect();
    erasure::close_families(&transaction, &alone, now).await?;
    erasure::end_sessions(&transaction, user_id, &alone, actor, now).await?;
    erasure::leave(&transaction, user_id, now).await?;
    erasure::announce_closed(&transaction, &alone, actor).await?;
    erasure::erase(&transaction, user_id, now).await?;
    erasure::announce(&transaction, user_id).await?;
    let entry = New {
        actor,
        action: "auth.account_deleted",
        target: &user_id.to_string(),
        details: &json!({"families": alone}),
        family_id: None,
    };
    audit::append(&transaction, &entry).await?;
    match transaction.commit().await {
        Ok(()) => Ok(()),
        // Somebody else gave up their ownership at this moment, by a way that does not lock the family first.
        Err(error) if error.constraint().as_deref() == Some(OWNER_CHECK) => {
            Err(problem::last_owner_of(&[]))
        }
        Err(error) => Err(error),
    }
}

//! `/auth/families/{id}/members`: who is in a family, and as what.

use nself_plugin_api::{capability::db::Transaction, prelude::*};
use serde::Deserialize;
use uuid::Uuid;

use super::{Done, Private, done};
use crate::{
    Auth,
    family::{FamilyRole, Member, Standing, Status},
    policy::Power,
    problem,
    store::{
        api_tokens, families,
        sessions::{self, End},
    },
};

pub(crate) async fn list(
    cx: Cx<Auth>,
    principal: Principal,
    Path(id): Path<Uuid>,
) -> Result<Private<Data<Vec<Member>>>> {
    let me = families::enter(&cx.db(), principal.user()?, id).await?;
    let mut members = families::members(&cx.db(), id).await?;
    if !me.may(&cx, Power::ManageMembers) {
        for member in members
            .iter_mut()
            .filter(|member| member.id != me.member_id)
        {
            member.email = None;
        }
    }
    Ok(Private(Data(members)))
}

/// What to change; what is left out stays.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    /// For those who may change roles.
    pub role: Option<FamilyRole>,
    /// Whether they may act.
    pub status: Option<Status>,
}

pub(crate) async fn change(
    cx: Cx<Auth>,
    principal: Principal,
    Path((id, member_id)): Path<(Uuid, Uuid)>,
    Json(change): Json<Change>,
) -> Result<Private<Data<Member>>> {
    let now = cx.clock().now()?;
    let tx = cx.db().begin().await?;
    let me = families::enter_to_change(&tx, principal.user()?, id).await?;
    let before = families::member(&tx, id, member_id).await?;
    me.must(&cx, Power::ManageMembers)?;
    me.over(before.role)?;
    let role = change.role.unwrap_or(before.role);
    let status = change.status.unwrap_or(before.status);
    if role != before.role {
        me.must(&cx, Power::ChangeRoles)?;
        me.over(role)?;
    }
    if (role == FamilyRole::Owner || before.role == FamilyRole::Owner) && !principal.elevated {
        return Err(problem::step_up());
    }
    if before.is_child_account() && role > FamilyRole::Youth {
        return Err(problem::child_account());
    }
    let is_owner_after = role == FamilyRole::Owner && status == Status::Active;
    if before.is_acting_owner() && !is_owner_after {
        spare_the_last_owner(&tx, &me, &before).await?;
    }
    if role != before.role || status != before.status {
        families::change(&tx, &me, before.id, role, status).await?;
        sessions::outdate(&tx, before.user_id, id, now).await?;
        if status == Status::Suspended {
            api_tokens::revoke_in_family(&tx, before.user_id, id, me.user_id, now).await?;
        }
    }
    let after = families::member(&tx, id, member_id).await?;
    families::commit(tx).await?;
    Ok(Private(Data(after)))
}

/// Removes a member; oneself is leaving, which a suspended member may, too.
pub(crate) async fn remove(
    cx: Cx<Auth>,
    principal: Principal,
    Path((id, member_id)): Path<(Uuid, Uuid)>,
) -> Result<Private<Data<Done>>> {
    let now = cx.clock().now()?;
    let tx = cx.db().begin().await?;
    let me = families::enter_to_remove(&tx, principal.user()?, id, member_id).await?;
    let member = families::member(&tx, id, member_id).await?;
    let is_leaving = member.id == me.member_id;
    if is_leaving {
        if me.is_child_account {
            return Err(problem::child_account());
        }
    } else {
        me.must(&cx, Power::ManageMembers)?;
        me.over(member.role)?;
        if member.role == FamilyRole::Owner && !principal.elevated {
            return Err(problem::step_up());
        }
    }
    if member.is_acting_owner() {
        spare_the_last_owner(&tx, &me, &member).await?;
    }
    // Sessions first: see `say_ended`.
    sessions::outdate(&tx, member.user_id, id, now).await?;
    if member.is_child_account() {
        // It was made for this family, and has no other.
        let by = me.user_id.to_string();
        let end = End::of("removed", now).by(&by);
        sessions::revoke_others(&tx, member.user_id, None, end).await?;
    }
    api_tokens::revoke_in_family(&tx, member.user_id, id, me.user_id, now).await?;
    families::remove(&tx, &me, member.id, now).await?;
    families::commit(tx).await?;
    Ok(done(if is_leaving { "left" } else { "removed" }))
}

/// # Errors
///
/// 409 when nobody else owns the family.
async fn spare_the_last_owner(tx: &Transaction, me: &Standing, member: &Member) -> Result<()> {
    if families::has_other_owner(tx, me.family_id, member.id).await? {
        Ok(())
    } else {
        Err(problem::last_owner())
    }
}

//! `auth.invitations`.

use nself_plugin_api::{capability::db::Param, jiff::Timestamp, prelude::*};
use uuid::Uuid;

use crate::{
    family::{FamilyRole, Standing},
    invitation::Invitation,
    policy::{Power, Powers},
    routes::invitations::Shown,
};

/// A new invitation.
pub(crate) struct New<'a> {
    pub(crate) role: FamilyRole,
    pub(crate) email: Option<&'a str>,
    pub(crate) mac: &'a [u8],
    pub(crate) uses_max: i32,
    pub(crate) now: Timestamp,
    pub(crate) expires_at: Timestamp,
}

const SHOWN: &str =
    "i.id, i.role, i.email, i.invited_by, i.uses, i.uses_max, i.created_at, i.expires_at";

fn read_shown(row: &Row) -> Result<Shown> {
    Ok(Shown {
        id: row.get("id")?,
        role: FamilyRole::read(row.get("role")?)?,
        email: row.get("email")?,
        invited_by: row.get("invited_by")?,
        uses: row.get("uses")?,
        uses_max: row.get("uses_max")?,
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
    })
}

/// Makes one. An address has one invitation at a time: a new one ends the one before.
pub(crate) async fn insert(db: &impl Queries, by: &Standing, new: &New<'_>) -> Result<Shown> {
    db.execute(
        "update auth.invitations set revoked_at = $3 \
         where family_id = $1 and email = $2 and revoked_at is null and uses < uses_max",
        &[&by.family_id, &new.email, &new.now],
    )
    .await?;
    let sql = format!(
        "insert into auth.invitations as i (family_id, role, email, token_mac, invited_by, uses_max, created_at, expires_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8) returning {SHOWN}"
    );
    let row = db
        .query_one(
            &sql,
            &[
                &by.family_id,
                &new.role.name(),
                &new.email,
                &new.mac,
                &by.user_id,
                &new.uses_max,
                &new.now,
                &new.expires_at,
            ],
        )
        .await?;
    read_shown(&row)
}

/// The open invitations of a family, the newest first.
pub(crate) async fn list(db: &impl Queries, family_id: Uuid, now: Timestamp) -> Result<Vec<Shown>> {
    let sql = format!(
        "select {SHOWN} from auth.invitations i where i.family_id = $1 and i.revoked_at is null \
         and i.expires_at > $2 and i.uses < i.uses_max order by i.created_at desc, i.id"
    );
    db.query(&sql, &[&family_id, &now]).await?.map(read_shown)
}

/// An open invitation of that family, for who is in it.
pub(crate) async fn of_family(
    db: &impl Queries,
    family_id: Uuid,
    id: Uuid,
    now: Timestamp,
) -> Result<Option<Shown>> {
    let open = list(db, family_id, now).await?;
    Ok(open.into_iter().find(|invitation| invitation.id == id))
}

/// How an invitation is named.
pub(crate) enum By<'a> {
    Token(&'a Vec<Vec<u8>>),
    Id(Uuid),
}

/// An invitation, if it is open, and if its maker could still make it.
pub(crate) async fn find_open(
    db: &impl Queries,
    powers: &Powers,
    by: By<'_>,
    now: Timestamp,
) -> Result<Option<Invitation>> {
    let (condition, value): (_, &(dyn Param + Sync)) = match &by {
        By::Token(macs) => ("i.token_mac = any($1)", *macs),
        By::Id(id) => ("i.id = $1", id),
    };
    let sql = format!(
        "select i.id, i.family_id, f.name as family_name, i.role, i.email, i.invited_by, u.display_name as inviter_name, \
         m.role as inviter_role, i.uses_max, i.created_at, i.expires_at \
         from auth.invitations i join public.families f on f.id = i.family_id and f.deleted_at is null \
         join public.users u on u.id = i.invited_by and u.status = 'active' \
         join public.family_members m on m.family_id = i.family_id and m.user_id = i.invited_by and m.status = 'active' \
         where {condition} and i.revoked_at is null and i.expires_at > $2 and i.uses < i.uses_max"
    );
    let Some(row) = db.query_opt(&sql, &[value, &now]).await? else {
        return Ok(None);
    };
    let inviter_role = FamilyRole::read(row.get("inviter_role")?)?;
    let invitation = Invitation {
        id: row.get("id")?,
        family_id: row.get("family_id")?,
        family_name: row.get("family_name")?,
        role: FamilyRole::read(row.get("role")?)?,
        email: row.get("email")?,
        inviter_id: row.get("invited_by")?,
        inviter_name: row.get("inviter_name")?,
        uses_max: row.get("uses_max")?,
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
    };
    let is_still_theirs = |invitation: &Invitation| {
        powers.give(inviter_role, Power::ManageMembers) && inviter_role.is_above(invitation.role)
    };
    Ok(Some(invitation).filter(is_still_theirs))
}

pub(crate) async fn use_once(db: &impl Queries, id: Uuid) -> Result<()> {
    db.execute(
        "update auth.invitations set uses = uses + 1 where id = $1",
        &[&id],
    )
    .await?;
    Ok(())
}

pub(crate) async fn revoke(db: &impl Queries, id: Uuid, now: Timestamp) -> Result<()> {
    db.execute(
        "update auth.invitations set revoked_at = $2 where id = $1 and revoked_at is null",
        &[&id, &now],
    )
    .await?;
    Ok(())
}

/// Forgets those that ran out before then.
pub(crate) async fn forget(db: &impl Queries, before: Timestamp) -> Result<u64> {
    db.execute(
        "delete from auth.invitations where id in (\
           select id from auth.invitations where expires_at < $1 limit 1000)",
        &[&before],
    )
    .await
}

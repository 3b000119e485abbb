//! `public.families` and `public.family_members`.
//!
//! Whatever changes a family locks its row first, so changes of one family follow one another: what a change has read of
//! roles is still so when it commits. The lock is one that tokens and sign-ins, which only refer to the row, do not wait for.

use nself_plugin_api::{
    capability::db::Transaction, jiff::Timestamp, prelude::*, serde_json::Value,
};
use uuid::Uuid;

use super::sessions::say_ended;

use crate::{
    family::{FAMILIES_MAX, Family, FamilyRole, MEMBERS_MAX, Member, Standing, Status},
    problem,
};

/// Where a person stands in a family.
///
/// # Errors
///
/// 404, the same for a family that is not theirs and for one that is not there.
pub(crate) async fn enter(db: &impl Queries, user_id: Uuid, family_id: Uuid) -> Result<Standing> {
    stand(db, user_id, family_id, &[Status::Active], false).await
}

/// As [`enter`], of a family that is deleted: there is something to do in it yet for whoever may.
///
/// # Errors
///
/// As [`enter`], and for a family that is not deleted.
pub(crate) async fn enter_deleted(
    db: &impl Queries,
    user_id: Uuid,
    family_id: Uuid,
) -> Result<Standing> {
    stand(db, user_id, family_id, &[Status::Active], true).await
}

async fn stand(
    db: &impl Queries,
    user_id: Uuid,
    family_id: Uuid,
    statuses: &[Status],
    is_deleted: bool,
) -> Result<Standing> {
    let statuses: Vec<&str> = statuses.iter().map(|status| status.name()).collect();
    let row = db
        .query_opt(
            "select m.id, m.role, f.name, u.display_name, u.kind = 'child' as is_child_account \
             from public.family_members m join public.families f on f.id = m.family_id \
             join public.users u on u.id = m.user_id \
             where m.family_id = $2 and m.user_id = $1 and m.status = any($3) and u.status = 'active' \
               and (f.deleted_at is not null) = $4",
            &[&user_id, &family_id, &statuses, &is_deleted],
        )
        .await?
        .ok_or_else(|| problem::not_a_member(family_id))?;
    Ok(Standing {
        family_id,
        family_name: row.get("name")?,
        member_id: row.get("id")?,
        user_id,
        display_name: row.get("display_name")?,
        role: FamilyRole::read(row.get("role")?)?,
        is_child_account: row.get("is_child_account")?,
    })
}

/// As [`enter`], and nobody else changes the family until the transaction ends. A stranger does not get to hold the lock.
///
/// # Errors
///
/// As [`enter`].
pub(crate) async fn enter_to_change(
    tx: &Transaction,
    user_id: Uuid,
    family_id: Uuid,
) -> Result<Standing> {
    enter(tx, user_id, family_id).await?;
    lock(tx, family_id).await?;
    enter(tx, user_id, family_id).await
}

/// As [`enter_to_change`] for whoever wants to leave, which a suspended member may, too.
///
/// # Errors
///
/// As [`enter`]; also for a suspended member when it is about another membership than their own.
pub(crate) async fn enter_to_remove(
    tx: &Transaction,
    user_id: Uuid,
    family_id: Uuid,
    member_id: Uuid,
) -> Result<Standing> {
    let any = [Status::Active, Status::Suspended];
    stand(tx, user_id, family_id, &any, false).await?;
    lock(tx, family_id).await?;
    let standing = stand(tx, user_id, family_id, &any, false).await?;
    if standing.member_id == member_id {
        Ok(standing)
    } else {
        enter(tx, user_id, family_id).await
    }
}

/// Lets nobody else change the family until the transaction ends.
pub(crate) async fn lock(tx: &Transaction, family_id: Uuid) -> Result<()> {
    tx.query(
        "select from public.families where id = $1 for no key update",
        &[&family_id],
    )
    .await?;
    Ok(())
}

/// Commits a change of members. The database has the last word on whether the family still has an owner.
///
/// # Errors
///
/// 409 `LAST_OWNER`.
pub(crate) async fn commit(tx: Transaction) -> Result<()> {
    tx.commit().await.map_err(|error| {
        if error.constraint().as_deref() == Some("family_members_owner_check") {
            problem::last_owner()
        } else {
            error
        }
    })
}

/// The families of a person, also those in which they are suspended: they may leave.
pub(crate) async fn list(db: &impl Queries, user_id: Uuid) -> Result<Vec<Family>> {
    db.query(
        "select f.id, f.name, f.created_at, m.id as member_id, m.role, m.status from public.family_members m \
         join public.families f on f.id = m.family_id \
         where m.user_id = $1 and m.status in ('active', 'suspended') and f.deleted_at is null \
         order by m.created_at, m.id",
        &[&user_id],
    )
    .await?
    .map(read_family)
}

/// A family as that member sees it.
pub(crate) async fn find(db: &impl Queries, standing: &Standing) -> Result<Family> {
    let row = db
        .query_one(
            "select f.id, f.name, f.created_at, m.id as member_id, m.role, m.status from public.family_members m \
             join public.families f on f.id = m.family_id where m.id = $1",
            &[&standing.member_id],
        )
        .await?;
    read_family(&row)
}

fn read_family(row: &Row) -> Result<Family> {
    Ok(Family {
        id: row.get("id")?,
        name: row.get("name")?,
        created_at: row.get("created_at")?,
        member_id: row.get("member_id")?,
        role: FamilyRole::read(row.get("role")?)?,
        status: read_status(row)?,
    })
}

fn read_status(row: &Row) -> Result<Status> {
    Ok(match row.get("status")? {
        "active" => Status::Active,
        _ => Status::Suspended,
    })
}

/// Whether a person may be in one more family. Their row is locked, so that the count is still so when this commits.
///
/// # Errors
///
/// 403 for a child's account, 409 for who is in too many.
pub(crate) async fn may_join_another(tx: &Transaction, user_id: Uuid) -> Result<()> {
    let row = tx
        .query_opt(
            "select u.kind = 'child' as is_child from public.users u \
             where u.id = $1 and u.status = 'active' for no key update",
            &[&user_id],
        )
        .await?
        .ok_or_else(problem::session_ended)?;
    if row.get("is_child")? {
        return Err(problem::child_account());
    }
    let families = tx
        .query_one(
            "select count(*) from public.family_members m join public.families f on f.id = m.family_id \
             where m.user_id = $1 and m.status in ('active', 'suspended') and f.deleted_at is null",
            &[&user_id],
        )
        .await?;
    if families.get::<i64>(0)? < FAMILIES_MAX {
        Ok(())
    } else {
        Err(problem::family_limit("families of one person"))
    }
}

/// # Errors
///
/// 409 when nobody more fits in.
pub(crate) async fn has_room(db: &impl Queries, family_id: Uuid) -> Result<()> {
    let members = db
        .query_one(
            "select count(*) from public.family_members where family_id = $1 and status in ('active', 'suspended')",
            &[&family_id],
        )
        .await?;
    if members.get::<i64>(0)? < MEMBERS_MAX {
        Ok(())
    } else {
        Err(problem::family_limit("members of one family"))
    }
}

/// A new family, owned by who makes it; announced.
pub(crate) async fn create(db: &impl Queries, name: &str, owner: Uuid) -> Result<Family> {
    let row = db
        .query_one("select public.create_family($1, $2)", &[&name, &owner])
        .await?;
    let me = enter(db, owner, row.get(0)?).await?;
    find(db, &me).await
}

pub(crate) async fn rename(db: &impl Queries, family_id: Uuid, name: &str) -> Result<()> {
    db.execute(
        "update public.families set name = $2 where id = $1",
        &[&family_id, &name],
    )
    .await?;
    Ok(())
}

/// Deletes a family, and ends what stands on it: machines, invitations, tokens for scripts, and the sessions of the accounts
/// that were made for it. Other members' sessions go on without it. It is announced.
///
/// # Errors
///
/// 404 for one that is not there, or deleted already.
pub(crate) async fn delete(
    db: &impl Queries,
    family_id: Uuid,
    actor: &str,
    now: Timestamp,
) -> Result<()> {
    // The machines before their sessions: one that gets its first tokens at this moment is waited for here.
    db.query("select public.delete_family($1, $2)", &[&family_id, &actor])
        .await
        .map_err(|error| not_there(error, family_id))?;
    for sql in [
        "update auth.invitations set revoked_at = $2 where family_id = $1 and revoked_at is null",
        "update auth.api_tokens set revoked_at = $2 where family_id = $1 and revoked_at is null",
        "with changed as (\
           update auth.sessions set epoch = epoch + 1, epoch_at = $2 \
           where family_id = $1 and user_id is not null and revoked_at is null returning id, epoch) \
         select pg_notify('auth', 'outdated ' || id || ' ' || epoch) from changed",
        concat!(
            "with ended as (\
               update auth.sessions set revoked_at = $2, revoked_why = 'family_deleted' where revoked_at is null and (\
                 device_id in (select id from public.devices where family_id = $1) \
                 or api_token_id in (select id from auth.api_tokens where family_id = $1) \
                 or user_id in (select u.id from public.family_members m join public.users u on u.id = m.user_id \
                   where m.family_id = $1 and u.kind = 'child')) returning *) ",
            say_ended!("null::text")
        ),
    ] {
        db.query(sql, &[&family_id, &now]).await?;
    }
    Ok(())
}

/// The function of the database that found no such family says so by this.
pub(super) fn not_there(error: Error, family_id: Uuid) -> Error {
    if error.sqlstate().as_deref() == Some("P0002") {
        problem::not_a_member(family_id)
    } else {
        error
    }
}

const MEMBER: &str = "select m.id, m.user_id, u.display_name, u.avatar_url, u.kind, u.email, m.role, m.status, \
                      u.created_by, m.created_at \
                      from public.family_members m join public.users u on u.id = m.user_id \
                      where m.family_id = $1 and m.status in ('active', 'suspended')";

fn read_member(row: &Row) -> Result<Member> {
    let kind: String = row.get("kind")?;
    let guardian_id = (kind == "child").then(|| row.get("created_by"));
    Ok(Member {
        id: row.get("id")?,
        user_id: row.get("user_id")?,
        display_name: row.get("display_name")?,
        avatar_url: row.get("avatar_url")?,
        guardian_id: guardian_id.transpose()?.flatten(),
        kind,
        email: row.get("email")?,
        role: FamilyRole::read(row.get("role")?)?,
        status: read_status(row)?,
        created_at: row.get("created_at")?,
    })
}

/// The members of a family, the oldest first.
pub(crate) async fn members(db: &impl Queries, family_id: Uuid) -> Result<Vec<Member>> {
    db.query(
        &format!("{MEMBER} order by m.created_at, m.id"),
        &[&family_id],
    )
    .await?
    .map(read_member)
}

/// A member of that family.
///
/// # Errors
///
/// 404, the same for a member of another family and for one that is not there.
pub(crate) async fn member(db: &impl Queries, family_id: Uuid, id: Uuid) -> Result<Member> {
    let row = db
        .query_opt(&format!("{MEMBER} and m.id = $2"), &[&family_id, &id])
        .await?;
    read_member(&row.ok_or_else(|| problem::no_member(id))?)
}

/// Whether the family has an owner beside that member.
pub(crate) async fn has_other_owner(
    db: &impl Queries,
    family_id: Uuid,
    member_id: Uuid,
) -> Result<bool> {
    let row = db
        .query_one(
            "select exists (select from public.family_members \
             where family_id = $1 and id <> $2 and role = 'OWNER' and status = 'active')",
            &[&family_id, &member_id],
        )
        .await?;
    row.get(0)
}

/// Gives a member another role or status, and announces it.
pub(crate) async fn change(
    db: &impl Queries,
    by: &Standing,
    member_id: Uuid,
    role: FamilyRole,
    status: Status,
) -> Result<()> {
    db.query(
        "select public.change_member($1, $2, $3, $4, $5)",
        &[
            &by.family_id,
            &member_id,
            &by.user_id,
            &role.name(),
            &status.name(),
        ],
    )
    .await?;
    Ok(())
}

/// Hands the family over to another member, and announces it.
pub(crate) async fn transfer(db: &impl Queries, owner: &Standing, heir_id: Uuid) -> Result<()> {
    db.query(
        "select public.transfer_ownership($1, $2, $3)",
        &[&owner.family_id, &owner.member_id, &heir_id],
    )
    .await?;
    Ok(())
}

/// Ends a membership, and announces it.
pub(crate) async fn remove(
    db: &impl Queries,
    by: &Standing,
    member_id: Uuid,
    now: Timestamp,
) -> Result<()> {
    db.query(
        "select public.remove_member($1, $2, $3, $4)",
        &[&by.family_id, &member_id, &by.user_id, &now],
    )
    .await?;
    Ok(())
}

/// What there is of a membership already.
pub(crate) enum Past {
    Never,
    /// Active or suspended.
    Lasting,
    LeftAt(Timestamp),
}

pub(crate) async fn past(db: &impl Queries, family_id: Uuid, user_id: Uuid) -> Result<Past> {
    let row = db
        .query_opt(
            "select left_at from public.family_members \
             where family_id = $1 and user_id = $2 and status <> 'pending_invite'",
            &[&family_id, &user_id],
        )
        .await?;
    let Some(row) = row else {
        return Ok(Past::Never);
    };
    let left_at: Option<Timestamp> = row.get("left_at")?;
    Ok(left_at.map_or(Past::Lasting, Past::LeftAt))
}

/// Somebody becomes a member of a family.
pub(crate) struct Joining {
    pub(crate) family_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) role: FamilyRole,
    /// Null leaves what is known of a former membership.
    pub(crate) invited_by: Option<Uuid>,
    /// Who did it.
    pub(crate) actor: Uuid,
    /// What the log says besides who became what.
    pub(crate) more: Value,
}

/// Makes a person a member, again in the same row who was one before, and announces it; the membership's id.
pub(crate) async fn join(db: &impl Queries, joining: &Joining) -> Result<Uuid> {
    db.query_one(
        "select public.add_member($1, $2, $3, $4, $5, $6)",
        &[
            &joining.family_id,
            &joining.user_id,
            &joining.role.name(),
            &joining.invited_by,
            &joining.actor,
            &joining.more,
        ],
    )
    .await?
    .get(0)
}

/// A person without an address, whose account is their guardian's matter.
pub(crate) async fn insert_child(
    db: &impl Queries,
    display_name: &str,
    locale: &str,
    guardian: Uuid,
) -> Result<Uuid> {
    db.query_one(
        "with u as (insert into public.users (kind, display_name, locale, created_by) \
           values ('child', $1, $2, $3) returning id) \
         select id, nself.emit_event('auth.user_created', id::text, jsonb_build_object('user_id', id)) from u",
        &[&display_name, &locale, &guardian],
    )
    .await?
    .get(0)
}

/// Something that somebody did in a family.
pub(crate) struct Deed<'a> {
    /// Past tense: `family.member_removed`.
    pub(crate) action: &'a str,
    pub(crate) family_id: Uuid,
    /// To whom or what.
    pub(crate) target: Uuid,
    pub(crate) details: Value,
    /// The person or machine who did it.
    pub(crate) actor: Uuid,
}

/// An entry of the family's audit log.
pub(crate) async fn audit(db: &impl Queries, deed: &Deed<'_>) -> Result<()> {
    db.query(
        "select nself.audit($1, $2, $3, $4, $5)",
        &[
            &deed.action,
            &deed.target.to_string(),
            &deed.details,
            &deed.family_id,
            &deed.actor.to_string(),
        ],
    )
    .await?;
    Ok(())
}

/// An entry of the family's audit log, and an event for those who listen.
pub(crate) async fn announce(db: &impl Queries, deed: &Deed<'_>) -> Result<()> {
    audit(db, deed).await?;
    db.query(
        "select nself.emit_event($1, $2, $3, $4)",
        &[
            &deed.action,
            &deed.target.to_string(),
            &deed.details,
            &deed.family_id,
        ],
    )
    .await?;
    Ok(())
}

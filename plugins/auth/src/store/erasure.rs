//! The end of an account: what is looked at before, and what is taken away.

use nself_plugin_api::{jiff::Timestamp, prelude::*};
use serde::Serialize;
use uuid::Uuid;

use super::sessions::say_ended;

/// Locks an account that is not deleted yet; whether there is one.
pub(crate) async fn lock(db: &impl Queries, user_id: Uuid) -> Result<bool> {
    let row = db
        .query_opt(
            "select from public.users where id = $1 and status <> 'deleted' for update",
            &[&user_id],
        )
        .await?;
    Ok(row.is_some())
}

/// An anonymous account from a row `u` that nobody has used since `$1`.
const UNUSED: &str = "u.is_anonymous and u.status = 'active' and u.created_at < $1 and not exists (\
                      select from auth.sessions s where s.user_id = u.id and s.rotated_at >= $1)";

/// Anonymous accounts that nobody has used since then, the next ones after `after`.
pub(crate) async fn unused(
    db: &impl Queries,
    since: Timestamp,
    after: Uuid,
    step: i64,
) -> Result<Vec<Uuid>> {
    db.query(
        &format!(
            "select u.id from public.users u where {UNUSED} and u.id > $2 order by u.id limit $3"
        ),
        &[&since, &after, &step],
    )
    .await?
    .map(|row| row.get(0))
}

/// Locks an account that is an unused one still; whether it is. Who signs in or gives it an address at this moment waits.
pub(crate) async fn lock_unused(
    db: &impl Queries,
    user_id: Uuid,
    since: Timestamp,
) -> Result<bool> {
    let row = db
        .query_opt(
            &format!("select from public.users u where {UNUSED} and u.id = $2 for update"),
            &[&since, &user_id],
        )
        .await?;
    Ok(row.is_some())
}

/// A family that somebody owns.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Owned {
    pub(crate) family_id: Uuid,
    pub(crate) name: String,
    /// Whether somebody else belongs to it.
    #[serde(skip)]
    pub(crate) has_others: bool,
}

/// Locks the families that a person is in: whoever else leaves, joins or is made an owner at this moment waits, and the
/// counting sees what they did.
pub(crate) async fn lock_families(db: &impl Queries, user_id: Uuid) -> Result<()> {
    db.query(
        "select from public.families f where f.deleted_at is null and f.id in (\
           select m.family_id from public.family_members m \
           where m.user_id = $1 and m.status in ('active', 'suspended')) order by f.id for no key update",
        &[&user_id],
    )
    .await?;
    Ok(())
}

/// The families in which this person is the only owner.
pub(crate) async fn solely_owned(db: &impl Queries, user_id: Uuid) -> Result<Vec<Owned>> {
    db.query(
        "select f.id, f.name, exists (select from public.family_members o \
           where o.family_id = f.id and o.user_id <> $1 and o.status in ('active', 'suspended')) as has_others \
         from public.families f join public.family_members m on m.family_id = f.id \
         where m.user_id = $1 and m.role = 'OWNER' and m.status = 'active' and f.deleted_at is null \
           and not exists (select from public.family_members o where o.family_id = f.id \
             and o.user_id <> $1 and o.role = 'OWNER' and o.status = 'active') order by f.id",
        &[&user_id],
    )
    .await?
    .map(|row| {
        Ok(Owned {
            family_id: row.get("id")?,
            name: row.get("name")?,
            has_others: row.get("has_others")?,
        })
    })
}

/// Closes families that nobody is left in, with their machines and invitations. Sessions and log come later.
pub(crate) async fn close_families(db: &impl Queries, ids: &[Uuid], now: Timestamp) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    // By the clock of the exports that come after it.
    db.execute(
        "update public.families set deleted_at = clock_timestamp() where id = any($1)",
        &[&ids],
    )
    .await?;
    for sql in [
        "update auth.invitations set revoked_at = $2 where family_id = any($1) and revoked_at is null",
        "update public.devices set revoked_at = $2 where family_id = any($1) and revoked_at is null",
    ] {
        db.execute(sql, &[&ids, &now]).await?;
    }
    Ok(())
}

/// Ends the sessions of a person, and of the machines of families that are closed with the account. All of them are locked
/// before the log is touched, in the order of their ids.
pub(crate) async fn end_sessions(
    db: &impl Queries,
    user_id: Uuid,
    closed: &[Uuid],
    actor: &str,
    now: Timestamp,
) -> Result<()> {
    let ids = db
        .query(
            "select id from auth.sessions where revoked_at is null and (user_id = $1 or device_id in (\
               select id from public.devices where family_id = any($2))) order by id for update",
            &[&user_id, &closed],
        )
        .await?;
    let ids: Vec<Uuid> = ids.map(|row| row.get("id"))?;
    db.query(
        concat!(
            "with ended as (\
               update auth.sessions set revoked_at = $3, \
                 revoked_why = case when user_id = $2 then 'deleted' else 'family_deleted' end \
               where id = any($1) returning *) ",
            say_ended!("$4")
        ),
        &[&ids, &user_id, &now, &actor],
    )
    .await?;
    Ok(())
}

/// Says that families were closed.
pub(crate) async fn announce_closed(db: &impl Queries, ids: &[Uuid], actor: &str) -> Result<()> {
    db.query(
        "select nself.audit('family.deleted', f.id::text, jsonb_build_object('family_id', f.id), f.id, $2), \
           nself.emit_event('family.deleted', f.id::text, jsonb_build_object('family_id', f.id), f.id) \
         from (select unnest($1::uuid[]) as id order by 1) f",
        &[&ids, &actor],
    )
    .await?;
    Ok(())
}

/// Leaves all families.
pub(crate) async fn leave(db: &impl Queries, user_id: Uuid, now: Timestamp) -> Result<()> {
    db.query(
        "with gone as (\
           update public.family_members set status = 'inactive', left_at = $2 \
           where user_id = $1 and status <> 'inactive' returning id, family_id) \
         select nself.emit_event('family.member_left', g.id::text, \
           jsonb_build_object('family_id', g.family_id, 'member_id', g.id, 'user_id', $1::uuid), g.family_id) \
         from (select * from gone order by family_id) g",
        &[&user_id, &now],
    )
    .await?;
    Ok(())
}

/// Takes away what signs somebody in, what waits for them, and what says where they were. The person's row stays, so
/// that what they made in a family keeps its author; nothing in it says who that was.
pub(crate) async fn erase(db: &impl Queries, user_id: Uuid, now: Timestamp) -> Result<()> {
    super::accounts::strip(db, user_id).await?;
    for sql in [
        "delete from auth.one_time o using public.users u where u.id = $1 and (o.user_id = u.id or o.target = u.email)",
        "delete from auth.invitations i using public.users u where u.id = $1 and i.email = u.email",
        "delete from auth.device_codes where approved_by = $1",
        "delete from public.user_app_roles where user_id = $1",
        "update auth.sessions set ip = null, user_agent = null, client = null where user_id = $1",
    ] {
        db.execute(sql, &[&user_id]).await?;
    }
    db.execute(
        "update auth.invitations set revoked_at = $2 where invited_by = $1 and revoked_at is null",
        &[&user_id, &now],
    )
    .await?;
    db.execute(
        "update public.users set status = 'deleted', deleted_at = $2, email = null, email_verified_at = null, \
           display_name = '', avatar_url = null, profile = '{}', locale = 'en', timezone = 'UTC' where id = $1",
        &[&user_id, &now],
    )
    .await?;
    Ok(())
}

/// Says to the other plugins that somebody's account has ended.
pub(crate) async fn announce(db: &impl Queries, user_id: Uuid) -> Result<()> {
    db.query(
        "select nself.emit_event('auth.user_deleted', $1::text, jsonb_build_object('user_id', $1::text))",
        &[&user_id.to_string()],
    )
    .await?;
    Ok(())
}

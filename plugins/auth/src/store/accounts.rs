//! `public.users` and `auth.credentials`.

use nself_plugin_api::{jiff::Timestamp, prelude::*, serde_json::Value};
use serde::Serialize;
use uuid::Uuid;

use crate::account::User;

/// The columns of a person, from a row `u`.
const USER: &str = "u.id as u_id, u.email, u.email_verified_at, u.display_name, u.avatar_url, u.locale, u.timezone, \
                    u.kind, u.is_anonymous, u.created_at as u_created_at";

pub(super) fn read_user(row: &Row) -> Result<User> {
    Ok(User {
        id: row.get("u_id")?,
        email: row.get("email")?,
        is_email_verified: row.get::<Option<Timestamp>>("email_verified_at")?.is_some(),
        display_name: row.get("display_name")?,
        avatar_url: row.get("avatar_url")?,
        locale: row.get("locale")?,
        timezone: row.get("timezone")?,
        kind: row.get("kind")?,
        is_anonymous: row.get("is_anonymous")?,
        created_at: row.get("u_created_at")?,
    })
}

/// An account as signing in finds it.
pub(crate) struct Account {
    pub(crate) user: User,
    pub(crate) is_active: bool,
    /// A PHC string; an account without a password has none.
    pub(crate) password: Option<String>,
    /// Whether a second factor is asked for.
    pub(crate) has_totp: bool,
}

fn read_account(row: &Row) -> Result<Account> {
    Ok(Account {
        user: read_user(row)?,
        is_active: row.get("is_active")?,
        password: row.get("password")?,
        has_totp: row.get("has_totp")?,
    })
}

async fn find(
    db: &impl Queries,
    condition: &str,
    value: &(dyn nself_plugin_api::capability::db::Param + Sync),
) -> Result<Option<Account>> {
    let sql = format!(
        "select {USER}, u.status = 'active' as is_active, \
         (select c.secret from auth.credentials c where c.user_id = u.id and c.kind = 'password') as password, \
         exists (select from auth.credentials c \
           where c.user_id = u.id and c.kind = 'totp' and c.confirmed_at is not null) as has_totp \
         from public.users u where {condition}"
    );
    db.query_opt(&sql, &[value])
        .await?
        .as_ref()
        .map(read_account)
        .transpose()
}

pub(crate) async fn find_by_email(db: &impl Queries, email: &str) -> Result<Option<Account>> {
    find(db, "u.email = $1", &email).await
}

pub(crate) async fn find_by_id(db: &impl Queries, id: Uuid) -> Result<Option<Account>> {
    find(db, "u.id = $1 and u.status <> 'deleted'", &id).await
}

/// A new person; `None` when the address is taken, also by somebody who registers at this moment.
pub(crate) async fn insert(
    db: &impl Queries,
    email: Option<&str>,
    display_name: &str,
    locale: &str,
) -> Result<Option<User>> {
    insert_as(db, Uuid::now_v7(), email, display_name, locale).await
}

/// As [`insert`], with an id that authenticators keep already.
pub(crate) async fn insert_as(
    db: &impl Queries,
    id: Uuid,
    email: Option<&str>,
    display_name: &str,
    locale: &str,
) -> Result<Option<User>> {
    let sql = format!(
        "with u as (insert into public.users (id, email, display_name, locale, is_anonymous) \
         values ($4, $1, $2, $3, $1::text is null) on conflict (email) do nothing returning *) select {USER} from u"
    );
    let row = db
        .query_opt(&sql, &[&email, &display_name, &locale, &id])
        .await?;
    row.as_ref().map(read_user).transpose()
}

/// Sets or replaces a person's password.
pub(crate) async fn set_password(
    db: &impl Queries,
    user_id: Uuid,
    hash: &str,
    now: Timestamp,
) -> Result<()> {
    db.execute(
        "insert into auth.credentials (user_id, kind, secret, created_at, confirmed_at) \
         values ($1, 'password', $2, $3, $3) \
         on conflict (user_id) where kind = 'password' do update set secret = excluded.secret, created_at = excluded.created_at",
        &[&user_id, &hash, &now],
    )
    .await?;
    Ok(())
}

/// The same password with today's strength, unless it was changed meanwhile.
pub(crate) async fn rehash(db: &impl Queries, user_id: Uuid, old: &str, new: &str) -> Result<()> {
    db.execute(
        "update auth.credentials set secret = $3 where user_id = $1 and kind = 'password' and secret = $2",
        &[&user_id, &old, &new],
    )
    .await?;
    Ok(())
}

/// Somebody at the address has proved that it is theirs. Returns whether that is news.
pub(crate) async fn verify_email(
    db: &impl Queries,
    user_id: Uuid,
    email: &str,
    now: Timestamp,
) -> Result<bool> {
    let changed = db
        .execute(
            "update public.users set email_verified_at = $3 \
             where id = $1 and email = $2 and email_verified_at is null and status = 'active'",
            &[&user_id, &email, &now],
        )
        .await?;
    Ok(changed == 1)
}

/// Takes away everything that somebody could have planted in an account before its address was proved: passwords, factors,
/// links to other issuers, tokens for scripts, and what was begun and waits, such as a change of the address. Sessions are
/// the caller's matter.
pub(crate) async fn strip(db: &impl Queries, user_id: Uuid) -> Result<()> {
    for sql in [
        // What is planted at this moment waits for this, or this for it: each insert locks the account's row a little.
        "select from public.users where id = $1 for update",
        "delete from auth.credentials where user_id = $1",
        "delete from auth.passkeys where user_id = $1",
        "delete from auth.identities where user_id = $1",
        "delete from auth.api_tokens where user_id = $1",
        "delete from auth.one_time where user_id = $1 and consumed_at is null",
    ] {
        db.execute(sql, &[&user_id]).await?;
    }
    Ok(())
}

/// Says in the log of events and in the audit log that somebody has an account now.
pub(crate) async fn announce(db: &impl Queries, user: &User) -> Result<()> {
    db.query(
        "select nself.audit('auth.signed_up', $1::text, '{}', null, $1::text), \
         nself.emit_event('auth.user_created', $1::text, jsonb_build_object('user_id', $1::text))",
        &[&user.id.to_string()],
    )
    .await?;
    Ok(())
}

/// What apps keep of a person.
pub(crate) async fn set_profile(db: &impl Queries, user_id: Uuid, profile: &Value) -> Result<()> {
    db.execute(
        "update public.users set profile = $2 where id = $1 and profile <> $2",
        &[&user_id, profile],
    )
    .await?;
    Ok(())
}

/// What apps keep of a person, and whether a second factor is asked for.
pub(crate) async fn profile(db: &impl Queries, user_id: Uuid) -> Result<(Value, bool)> {
    let row = db
        .query_one(
            "select profile, exists (select from auth.credentials c \
               where c.user_id = u.id and c.kind = 'totp' and c.confirmed_at is not null) as has_totp \
             from public.users u where id = $1",
            &[&user_id],
        )
        .await?;
    Ok((row.get("profile")?, row.get("has_totp")?))
}

/// Gives an anonymous account an address; false when somebody has it, or when the account is anonymous no more.
pub(crate) async fn name_anonymous(
    db: &impl Queries,
    user_id: Uuid,
    email: &str,
    verified_at: Option<Timestamp>,
) -> Result<bool> {
    let changed = db
        .execute(
            "update public.users u set email = $2, email_verified_at = $3, is_anonymous = false \
             where u.id = $1 and u.is_anonymous and u.status = 'active' \
               and not exists (select from public.users o where o.email = $2)",
            &[&user_id, &email, &verified_at],
        )
        .await;
    unless_taken(changed)
}

/// An entry of the audit log about an account.
pub(crate) async fn audit(
    db: &impl Queries,
    action: &str,
    user_id: Uuid,
    details: &Value,
) -> Result<()> {
    db.query(
        "select nself.audit($1, $2, $3, null, $2)",
        &[&action, &user_id.to_string(), details],
    )
    .await?;
    Ok(())
}

/// An entry about an account, of what nobody in particular has done.
pub(crate) async fn audit_by_nobody(
    db: &impl Queries,
    action: &str,
    user_id: Option<Uuid>,
    details: &Value,
) -> Result<()> {
    let target = user_id.map(|user_id| user_id.to_string());
    db.query(
        "select nself.audit($1, $2, $3)",
        &[&action, &target, details],
    )
    .await?;
    Ok(())
}

/// What a person says of themselves; what is `None` stays.
pub(crate) struct Description<'a> {
    pub(crate) display_name: Option<&'a str>,
    /// Empty for none.
    pub(crate) avatar_url: Option<&'a str>,
    pub(crate) locale: Option<&'a str>,
    pub(crate) timezone: Option<&'a str>,
}

/// Changes what is given of a person's own description; the names of what is another now.
pub(crate) async fn describe(
    db: &impl Queries,
    user_id: Uuid,
    given: &Description<'_>,
) -> Result<Vec<String>> {
    let row = db
        .query_opt(
            "with old as (select * from public.users where id = $1 for no key update), \
             new as (\
               update public.users u set display_name = coalesce($2, u.display_name), \
                 avatar_url = case when $3 = '' then null else coalesce($3, u.avatar_url) end, \
                 locale = coalesce($4, u.locale), timezone = coalesce($5, u.timezone) \
               from old where u.id = old.id returning u.*) \
             select array_remove(array[\
               case when new.display_name <> old.display_name then 'display_name' end, \
               case when new.avatar_url is distinct from old.avatar_url then 'avatar_url' end, \
               case when new.locale <> old.locale then 'locale' end, \
               case when new.timezone <> old.timezone then 'timezone' end], null) as changed from new, old",
            &[
                &user_id,
                &given.display_name,
                &given.avatar_url,
                &given.locale,
                &given.timezone,
            ],
        )
        .await?;
    row.map_or_else(|| Ok(Vec::new()), |row| row.get("changed"))
}

/// Gives a person another address, which they have proved; false when somebody else has it.
pub(crate) async fn change_email(
    db: &impl Queries,
    user_id: Uuid,
    email: &str,
    now: Timestamp,
) -> Result<bool> {
    let changed = db
        .execute(
            "update public.users u set email = $2, email_verified_at = $3, is_anonymous = false \
             where u.id = $1 and u.status = 'active' \
               and not exists (select from public.users o where o.email = $2 and o.id <> $1)",
            &[&user_id, &email, &now],
        )
        .await;
    unless_taken(changed)
}

/// Whether a statement gave an address to somebody.
fn unless_taken(changed: Result<u64>) -> Result<bool> {
    match changed {
        Ok(changed) => Ok(changed == 1),
        // Somebody took it in the same moment.
        Err(error) if error.constraint().as_deref() == Some("users_email_key") => Ok(false),
        Err(error) => Err(error),
    }
}

/// A family of somebody's.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Membership {
    /// The family.
    pub family_id: Uuid,
    /// Its name.
    pub name: String,
    /// The membership.
    pub member_id: Uuid,
    /// The role in it.
    pub role: String,
}

/// Somebody with all their families, as their own apps ask for at each start: one statement.
pub(crate) async fn find_with_families(
    db: &impl Queries,
    id: Uuid,
) -> Result<Option<(User, Vec<Membership>)>> {
    let sql = format!(
        "select {USER}, m.id as member_id, m.family_id, f.name, m.role from public.users u \
         left join (public.family_members m join public.families f on f.id = m.family_id and f.deleted_at is null) \
           on m.user_id = u.id and m.status = 'active' \
         where u.id = $1 and u.status <> 'deleted' order by m.created_at, m.id"
    );
    let mut user = None;
    let families = db.query(&sql, &[&id]).await?.map(|row| {
        if user.is_none() {
            user = Some(read_user(row)?);
        }
        let is_member = row.get::<Option<Uuid>>("member_id")?.is_some();
        is_member.then(|| read_membership(row)).transpose()
    })?;
    Ok(user.map(|user| (user, families.into_iter().flatten().collect())))
}

pub(crate) async fn memberships(db: &impl Queries, user_id: Uuid) -> Result<Vec<Membership>> {
    db.query(
        "select m.id as member_id, m.family_id, f.name, m.role from public.family_members m \
         join public.families f on f.id = m.family_id \
         where m.user_id = $1 and m.status = 'active' and f.deleted_at is null order by m.created_at, m.id",
        &[&user_id],
    )
    .await?
    .map(read_membership)
}

fn read_membership(row: &Row) -> Result<Membership> {
    Ok(Membership {
        family_id: row.get("family_id")?,
        name: row.get("name")?,
        member_id: row.get("member_id")?,
        role: row.get("role")?,
    })
}

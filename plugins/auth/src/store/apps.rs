//! `public.apps` and `public.user_app_roles`: who may do what in which app.

use nself_plugin_api::{jiff::Timestamp, prelude::*};
use serde::Serialize;
use uuid::Uuid;

/// An app of the house.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct App {
    /// Stays for good.
    pub id: Uuid,
    /// As tokens and configurations name it.
    pub slug: String,
    /// As people see it.
    pub name: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// Roles that were given in it.
    pub roles: i64,
}

pub(crate) async fn list(db: &impl Queries) -> Result<Vec<App>> {
    db.query(
        "select a.id, a.slug, a.name, a.created_at, \
           (select count(*) from public.user_app_roles r where r.app_id = a.id) as roles \
         from public.apps a order by a.slug limit 1000",
        &[],
    )
    .await?
    .map(|row| {
        Ok(App {
            id: row.get("id")?,
            slug: row.get("slug")?,
            name: row.get("name")?,
            created_at: row.get("created_at")?,
            roles: row.get("roles")?,
        })
    })
}

/// Adds an app, or gives one another name.
pub(crate) async fn put(db: &impl Queries, slug: &str, name: &str) -> Result<()> {
    db.execute(
        "insert into public.apps (slug, name) values ($1, $2) on conflict (slug) do update set name = excluded.name",
        &[&slug, &name],
    )
    .await?;
    Ok(())
}

/// Removes an app with the roles in it, and tells everybody who had one that their tokens are outdated.
pub(crate) async fn remove(db: &impl Queries, slug: &str, now: Timestamp) -> Result<bool> {
    outdate(
        db,
        "select r.user_id from public.user_app_roles r join public.apps a on a.id = r.app_id where a.slug = $1",
        &[&slug, &now],
    )
    .await?;
    let removed = db
        .execute("delete from public.apps where slug = $1", &[&slug])
        .await?;
    Ok(removed == 1)
}

/// A role of somebody's in an app.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Grant {
    /// Who has it.
    pub user_id: Uuid,
    /// Their address.
    pub email: Option<String>,
    /// The role.
    pub role: String,
    /// Since when.
    pub created_at: Timestamp,
}

pub(crate) async fn grants(
    db: &impl Queries,
    slug: &str,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Grant>> {
    db.query(
        "select r.user_id, u.email, r.role, r.created_at from public.user_app_roles r \
         join public.apps a on a.id = r.app_id join public.users u on u.id = r.user_id \
         where a.slug = $1 and ($2::uuid is null or r.user_id < $2) order by r.user_id desc, r.role limit $3",
        &[&slug, &before, &limit],
    )
    .await?
    .map(|row| {
        Ok(Grant {
            user_id: row.get("user_id")?,
            email: row.get("email")?,
            role: row.get("role")?,
            created_at: row.get("created_at")?,
        })
    })
}

/// Gives a role; whether app and account are there.
pub(crate) async fn grant(
    db: &impl Queries,
    slug: &str,
    user_id: Uuid,
    role: &str,
) -> Result<bool> {
    let row = db
        .query_opt(
            "with pair as (\
               select a.id as app_id, u.id as user_id from public.apps a, public.users u \
               where a.slug = $1 and u.id = $2 and u.status <> 'deleted'), \
             given as (\
               insert into public.user_app_roles (user_id, app_id, role) select user_id, app_id, $3 from pair \
               on conflict do nothing) \
             select from pair",
            &[&slug, &user_id, &role],
        )
        .await?;
    Ok(row.is_some())
}

/// Takes a role away, and outdates the tokens that tell of it; whether it was there.
pub(crate) async fn withdraw(
    db: &impl Queries,
    slug: &str,
    user_id: Uuid,
    role: &str,
    now: Timestamp,
) -> Result<bool> {
    let removed = db
        .execute(
            "delete from public.user_app_roles r using public.apps a \
             where a.id = r.app_id and a.slug = $1 and r.user_id = $2 and r.role = $3",
            &[&slug, &user_id, &role],
        )
        .await?;
    if removed == 1 {
        outdate(db, "select $1::uuid", &[&user_id, &now]).await?;
    }
    Ok(removed == 1)
}

/// Makes the access tokens of the people that `who` selects by `$1` outdated; `$2` is now.
async fn outdate(
    db: &impl Queries,
    who: &'static str,
    values: &[&(dyn nself_plugin_api::capability::db::Param + Sync)],
) -> Result<()> {
    let sql = format!(
        "with changed as (\
           update auth.sessions set epoch = epoch + 1, epoch_at = $2 \
           where user_id in ({who}) and revoked_at is null returning id, epoch) \
         select pg_notify('auth', 'outdated ' || id || ' ' || epoch) from changed"
    );
    db.query(&sql, values).await?;
    Ok(())
}

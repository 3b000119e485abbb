//! The end of families, in `public.families`: the export of what they have, the time in which they can be taken back, and that
//! they are gone then.

use nself_plugin_api::{capability::db::Transaction, jiff::Timestamp, prelude::*};
use serde::Serialize;
use uuid::Uuid;

use super::families::not_there;
use crate::{family_end::KEPT_DAYS, problem};

/// Lines of one step of an export: what is held of a family at a time.
const LINES: &str = "fetch 200 from family_export";

/// How long a purge may take, in place of what a plugin's statement may: it is one transaction, however much a family has.
const PURGE_TIMEOUT: &str = "30min";

/// A family that is deleted and not gone yet.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct PastFamily {
    /// The family.
    pub id: Uuid,
    /// As its members called it.
    pub name: String,
    /// Since when it is deleted.
    pub deleted_at: Timestamp,
    /// Until when it can be taken back. After that it goes for good, once it was exported.
    pub kept_until: Timestamp,
    /// When it was last exported since then.
    pub exported_at: Option<Timestamp>,
}

fn read(row: &Row) -> Result<PastFamily> {
    Ok(PastFamily {
        id: row.get("id")?,
        name: row.get("name")?,
        deleted_at: row.get("deleted_at")?,
        kept_until: row.get("kept_until")?,
        exported_at: row.get("exported_at")?,
    })
}

const DELETED: &str = "f.id, f.name, f.deleted_at, f.deleted_at + make_interval(days => $1) as kept_until, \
    (select max(e.exported_at) from public.family_exports e \
      where e.family_id = f.id and e.exported_at >= f.deleted_at) as exported_at";

/// The deleted families that a person is in with one of these roles, the last one first.
pub(crate) async fn deleted_of(
    db: &impl Queries,
    user_id: Uuid,
    roles: &[&str],
) -> Result<Vec<PastFamily>> {
    let sql = format!(
        "select {DELETED} from public.families f join public.family_members m on m.family_id = f.id \
         where m.user_id = $2 and m.role = any($3) and m.status = 'active' and f.deleted_at is not null \
         order by f.deleted_at desc, f.id"
    );
    db.query(&sql, &[&KEPT_DAYS, &user_id, &roles])
        .await?
        .map(read)
}

/// Families that are to go: their time is over, and they were exported. The next ones after `after`.
pub(crate) async fn due(db: &impl Queries, after: Uuid, step: i64) -> Result<Vec<Uuid>> {
    db.query(
        "select f.id from public.families f \
         where f.deleted_at <= now() - make_interval(days => $1) and f.id > $2 and exists (\
           select from public.family_exports e where e.family_id = f.id and e.exported_at >= f.deleted_at) \
         order by f.id limit $3",
        &[&KEPT_DAYS, &after, &step],
    )
    .await?
    .map(|row| row.get(0))
}

/// # Errors
///
/// 404 for a family that is not deleted, or gone; 409 when its time is over, or nobody is left who owns it.
pub(crate) async fn take_back(db: &impl Queries, family_id: Uuid, actor: &str) -> Result<()> {
    db.query(
        "select public.take_back_family($1, $2, make_interval(days => $3))",
        &[&family_id, &actor, &KEPT_DAYS],
    )
    .await
    .map_err(|error| match error.sqlstate().as_deref() {
        Some("55000") => problem::family_lost(),
        _ => not_there(error, family_id),
    })?;
    Ok(())
}

/// Begins to read everything that a family has; it is as it is now.
///
/// # Errors
///
/// 404 when it is gone.
pub(crate) async fn open_export(tx: &Transaction, family_id: Uuid) -> Result<()> {
    tx.query("select public.open_family_export($1)", &[&family_id])
        .await
        .map_err(|error| not_there(error, family_id))?;
    Ok(())
}

/// The next lines of the export that was begun in this transaction, and how many; none when it is over.
pub(crate) async fn next_lines(tx: &Transaction) -> Result<(Vec<u8>, i64)> {
    let rows = tx.query(LINES, &[]).await?;
    let (mut text, mut lines) = (Vec::new(), 0);
    for row in rows {
        text.extend_from_slice(row.get::<&str>(0)?.as_bytes());
        text.push(b'\n');
        lines += 1;
    }
    Ok((text, lines))
}

/// Writes down that a family was exported, by whom and how many rows.
pub(crate) async fn note_export(
    db: &impl Queries,
    family_id: Uuid,
    exporter: Option<Uuid>,
    rows: i64,
    actor: &str,
) -> Result<()> {
    db.query(
        "select public.note_export($1, $2, $3, $4)",
        &[&family_id, &exporter, &rows, &actor],
    )
    .await?;
    Ok(())
}

/// Locks the accounts that were made for a family, and have no other; their ids. They are locked before the family, as
/// whoever deletes an account does.
pub(crate) async fn lock_children(tx: &Transaction, family_id: Uuid) -> Result<Vec<Uuid>> {
    tx.query(
        "select u.id from public.users u where u.kind = 'child' and u.status <> 'deleted' \
           and exists (select from public.family_members m where m.user_id = u.id and m.family_id = $1) \
           and not exists (select from public.family_members m where m.user_id = u.id and m.family_id <> $1) \
         order by u.id for update",
        &[&family_id],
    )
    .await?
    .map(|row| row.get(0))
}

/// Takes away all that a family has, for good; it is announced.
///
/// # Errors
///
/// 404 for one that is not deleted, or gone; 409 for one that was not exported since, or whose time is not over.
pub(crate) async fn purge(
    tx: &Transaction,
    family_id: Uuid,
    actor: &str,
    kept_days: i32,
) -> Result<()> {
    tx.query(
        "select set_config('statement_timeout', $1, true)",
        &[&PURGE_TIMEOUT],
    )
    .await?;
    tx.query(
        "select public.purge_family($1, $2, make_interval(days => $3))",
        &[&family_id, &actor, &kept_days],
    )
    .await
    .map_err(|error| match error.sqlstate().as_deref() {
        Some("55000") => problem::family_kept(),
        _ => not_there(error, family_id),
    })?;
    Ok(())
}

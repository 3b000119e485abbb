//! `public.devices`, and the sessions of machines.

use nself_plugin_api::{capability::db::Transaction, jiff::Timestamp, prelude::*};
use uuid::Uuid;

use super::sessions::say_ended;

use super::device_codes::Pairing;
use crate::{caller::Caller, device::Device, family::Standing};

const DEVICE: &str =
    "d.id, d.name, d.kind, d.is_trusted, d.approved_by, d.last_seen_at, d.created_at";

fn read(row: &Row) -> Result<Device> {
    Ok(Device {
        id: row.get("id")?,
        name: row.get("name")?,
        kind: row.get("kind")?,
        is_trusted: row.get("is_trusted")?,
        approved_by: row.get("approved_by")?,
        last_seen_at: row.get("last_seen_at")?,
        created_at: row.get("created_at")?,
    })
}

/// A machine that somebody lets into their family.
pub(crate) async fn insert(
    db: &impl Queries,
    by: &Standing,
    name: &str,
    pairing: &Pairing,
) -> Result<Device> {
    let sql = format!(
        "insert into public.devices as d (family_id, name, kind, approved_by) values ($1, $2, $3, $4) returning {DEVICE}"
    );
    let row = db
        .query_one(&sql, &[&by.family_id, &name, &pairing.kind, &by.member_id])
        .await?;
    read(&row)
}

/// The machines of a family, the oldest first.
pub(crate) async fn list(db: &impl Queries, family_id: Uuid) -> Result<Vec<Device>> {
    let sql = format!(
        "select {DEVICE} from public.devices d where d.family_id = $1 and d.revoked_at is null order by d.created_at, d.id"
    );
    db.query(&sql, &[&family_id]).await?.map(read)
}

/// Changes what is given; `None` for a machine that is not one of that family.
pub(crate) async fn change(
    db: &impl Queries,
    family_id: Uuid,
    id: Uuid,
    name: Option<&str>,
    is_trusted: Option<bool>,
) -> Result<Option<Device>> {
    let sql = format!(
        "update public.devices d set name = coalesce($3, d.name), is_trusted = coalesce($4, d.is_trusted) \
         where d.family_id = $1 and d.id = $2 and d.revoked_at is null returning {DEVICE}"
    );
    let row = db
        .query_opt(&sql, &[&family_id, &id, &name, &is_trusted])
        .await?;
    row.as_ref().map(read).transpose()
}

/// Whether a machine is one of that family.
pub(crate) async fn is_there(db: &impl Queries, family_id: Uuid, id: Uuid) -> Result<bool> {
    let sql = "select exists (select from public.devices where family_id = $1 and id = $2 and revoked_at is null)";
    db.query_one(sql, &[&family_id, &id]).await?.get(0)
}

/// Lets a machine out of the family, and ends its sessions.
pub(crate) async fn revoke(db: &impl Queries, id: Uuid, now: Timestamp) -> Result<()> {
    // First the machine: one that gets its first tokens at this moment is waited for here, and its session is seen below.
    db.execute(
        "update public.devices set revoked_at = $2 where id = $1 and revoked_at is null",
        &[&id, &now],
    )
    .await?;
    db.query(
        concat!(
            "with ended as (\
               update auth.sessions set revoked_at = $2, revoked_why = 'device' \
               where device_id = $1 and revoked_at is null returning *) ",
            say_ended!("null::text")
        ),
        &[&id, &now],
    )
    .await?;
    Ok(())
}

/// The family of a machine that may act; it stays so until the transaction ends.
pub(crate) async fn hold(tx: &Transaction, id: Uuid) -> Result<Option<Uuid>> {
    let row = tx
        .query_opt(
            "select d.family_id from public.devices d join public.families f on f.id = d.family_id \
             where d.id = $1 and d.revoked_at is null and f.deleted_at is null for share of d",
            &[&id],
        )
        .await?;
    row.map(|row| row.get(0)).transpose()
}

/// A machine's session to be.
pub(crate) struct NewSession<'a> {
    pub(crate) device_id: Uuid,
    pub(crate) family_id: Uuid,
    pub(crate) client_id: &'a str,
    pub(crate) caller: &'a Caller,
    pub(crate) now: Timestamp,
    pub(crate) idle_expiry: Timestamp,
    pub(crate) absolute_expiry: Timestamp,
}

/// Begins a machine's session; its id.
pub(crate) async fn begin_session(db: &impl Queries, new: &NewSession<'_>) -> Result<Uuid> {
    db.query_one(
        "insert into auth.sessions (device_id, family_id, aal, amr, client, ip, user_agent, created_at, rotated_at, \
           auth_time, idle_expiry, absolute_expiry) \
         values ($1, $2, 1, '{}', $3, $4, $5, $6, $6, $6, $7, $8) returning id",
        &[
            &new.device_id,
            &new.family_id,
            &new.client_id,
            &new.caller.ip,
            &new.caller.user_agent,
            &new.now,
            &new.idle_expiry,
            &new.absolute_expiry,
        ],
    )
    .await?
    .get(0)
}

/// The client that a machine's session was begun by; `None` for a person's, and for one that is not there.
pub(crate) async fn client_of(db: &impl Queries, session: Uuid) -> Result<Option<String>> {
    let sql = "select client from auth.sessions where id = $1 and device_id is not null";
    let row = db.query_opt(sql, &[&session]).await?;
    row.map(|row| row.get(0)).transpose()
}

/// Notes that a machine was heard of, at most once a minute.
pub(crate) async fn seen(db: &impl Queries, id: Uuid, now: Timestamp) -> Result<()> {
    db.execute(
        "update public.devices set last_seen_at = $2 where id = $1 and revoked_at is null \
         and (last_seen_at is null or last_seen_at <= $2 - interval '1 minute')",
        &[&id, &now],
    )
    .await?;
    Ok(())
}

//! `auth.device_codes`: machines that wait to be paired.

use nself_plugin_api::{capability::db::Transaction, jiff::Timestamp, prelude::*};
use uuid::Uuid;

use crate::caller::Caller;

/// A machine that asks.
pub(crate) struct New<'a> {
    pub(crate) device_code_mac: &'a [u8],
    pub(crate) user_code_mac: &'a [u8],
    pub(crate) client_id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) caller: &'a Caller,
    pub(crate) interval_seconds: i32,
    pub(crate) now: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// Whether it is there: false when another machine has the same user code.
pub(crate) async fn insert(db: &impl Queries, new: &New<'_>) -> Result<bool> {
    let inserted = db
        .execute(
            "insert into auth.device_codes (device_code_mac, user_code_mac, client_id, name, kind, ip, \
               interval_seconds, created_at, expires_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing",
            &[
                &new.device_code_mac,
                &new.user_code_mac,
                &new.client_id,
                &new.name,
                &new.kind,
                &new.caller.ip,
                &new.interval_seconds,
                &new.now,
                &new.expires_at,
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// Where a pairing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Pending,
    Approved,
    Denied,
    Used,
}

/// A pairing under way.
#[derive(Debug)]
pub(crate) struct Pairing {
    pub(crate) id: Uuid,
    pub(crate) client_id: String,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) ip: Option<String>,
    pub(crate) status: Status,
    pub(crate) interval_seconds: i32,
    pub(crate) polled_at: Option<Timestamp>,
    pub(crate) device_id: Option<Uuid>,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

const PAIRING: &str = "select id, client_id, name, kind, host(ip) as ip, status, interval_seconds, polled_at, \
                       device_id, created_at, expires_at from auth.device_codes";

fn read(row: &Row) -> Result<Pairing> {
    Ok(Pairing {
        id: row.get("id")?,
        client_id: row.get("client_id")?,
        name: row.get("name")?,
        kind: row.get("kind")?,
        ip: row.get("ip")?,
        status: match row.get("status")? {
            "pending" => Status::Pending,
            "approved" => Status::Approved,
            "used" => Status::Used,
            _ => Status::Denied,
        },
        interval_seconds: row.get("interval_seconds")?,
        polled_at: row.get("polled_at")?,
        device_id: row.get("device_id")?,
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
    })
}

/// The pairing that a machine polls for; nobody else decides on it until the transaction ends.
pub(crate) async fn by_device_code(
    tx: &Transaction,
    macs: &Vec<Vec<u8>>,
) -> Result<Option<Pairing>> {
    let sql = format!("{PAIRING} where device_code_mac = any($1) for update");
    tx.query_opt(&sql, &[macs])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// The pairing that waits for a decision under a user code.
pub(crate) async fn waiting(
    db: &impl Queries,
    macs: &Vec<Vec<u8>>,
    now: Timestamp,
) -> Result<Option<Pairing>> {
    let sql = format!(
        "{PAIRING} where user_code_mac = any($1) and status = 'pending' and expires_at > $2"
    );
    db.query_opt(&sql, &[macs, &now])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// A machine has asked; from now on it waits so long between two questions.
pub(crate) async fn polled(
    db: &impl Queries,
    id: Uuid,
    interval_seconds: i32,
    now: Timestamp,
) -> Result<()> {
    db.execute(
        "update auth.device_codes set polled_at = $3, interval_seconds = $2 where id = $1",
        &[&id, &interval_seconds, &now],
    )
    .await?;
    Ok(())
}

/// Decides on a pairing that waits: one statement, so of many who decide at once one does.
pub(crate) async fn decide(
    db: &impl Queries,
    id: Uuid,
    family_id: Uuid,
    device_id: Option<Uuid>,
    user_id: Uuid,
) -> Result<bool> {
    let decided = db
        .execute(
            "update auth.device_codes set status = case when $3::uuid is null then 'denied' else 'approved' end, \
               family_id = $2, device_id = $3, approved_by = $4 where id = $1 and status = 'pending'",
            &[&id, &family_id, &device_id, &user_id],
        )
        .await?;
    Ok(decided == 1)
}

/// The machine has its tokens: the code is worth nothing any more.
pub(crate) async fn use_up(db: &impl Queries, id: Uuid) -> Result<()> {
    db.execute(
        "update auth.device_codes set status = 'used' where id = $1",
        &[&id],
    )
    .await?;
    Ok(())
}

/// Forgets what ran out before then.
pub(crate) async fn forget(db: &impl Queries, before: Timestamp) -> Result<u64> {
    db.execute(
        "delete from auth.device_codes where id in (\
           select id from auth.device_codes where expires_at < $1 limit 1000)",
        &[&before],
    )
    .await
}

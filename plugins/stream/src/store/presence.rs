//! Who is there, by hosts that are alive.

use nself_plugin_api::prelude::*;
use uuid::Uuid;

use crate::protocol::ClientInfo;

/// Somebody is there, by this host; whether they were already. What `stream.enter` does, but that who comes back from another host has come
/// just now: this host's lease may be on its way with a list that they are not on yet.
pub(crate) async fn enter(
    db: &impl Queries,
    channel: &str,
    client: Uuid,
    node: Uuid,
    user: &str,
) -> Result<bool> {
    let rows = db
        .query(
            "with host as ( \
                 insert into stream.nodes as n (id) values ($3) on conflict (id) do update set seen_at = clock_timestamp() \
                 where n.seen_at < clock_timestamp() - interval '3 seconds') \
             insert into stream.presence (channel, client, node, user_id) values ($1, $2, $3, $4) \
             on conflict (channel, client) do update \
                 set node = excluded.node, user_id = excluded.user_id, joined_at = excluded.joined_at \
             returning xmax <> 0",
            &[&channel, &client, &node, &user],
        )
        .await?;
    let was_there: Vec<bool> = rows.map(|row| row.get(0))?;
    Ok(was_there.first().copied().unwrap_or_default())
}

/// Somebody is not there any more, unless it is by another host; whether they were.
pub(crate) async fn leave(
    db: &impl Queries,
    channel: &str,
    client: Uuid,
    node: Uuid,
) -> Result<bool> {
    let left = db
        .execute(
            "delete from stream.presence where channel = $1 and client = $2 and node = $3",
            &[&channel, &client, &node],
        )
        .await?;
    Ok(left > 0)
}

pub(crate) async fn all(db: &impl Queries, channel: &str) -> Result<Vec<ClientInfo>> {
    db.query(
        "select client, user_id from stream.present($1)",
        &[&channel],
    )
    .await?
    .map(|row| {
        Ok(ClientInfo {
            client: row.get::<Uuid>(0)?.to_string(),
            user: row.get(1)?,
        })
    })
}

/// The host lives, and these are all of its clients.
pub(crate) async fn keep_node(db: &impl Queries, node: Uuid, clients: Vec<Uuid>) -> Result<()> {
    db.query("select stream.keep_node($1, $2)", &[&node, &clients])
        .await?;
    Ok(())
}

/// A host that is alive.
pub(crate) struct Node {
    pub id: Uuid,
    pub clients: i64,
    pub uptime_seconds: i64,
}

pub(crate) async fn nodes(db: &impl Queries) -> Result<Vec<Node>> {
    db.query(
        "select id, clients, extract(epoch from clock_timestamp() - started_at)::bigint from stream.nodes \
         where seen_at > clock_timestamp() - interval '10 seconds' order by id",
        &[],
    )
    .await?
    .map(|row| {
        Ok(Node {
            id: row.get(0)?,
            clients: row.get(1)?,
            uptime_seconds: row.get(2)?,
        })
    })
}

/// The host goes, and everybody who was there by it.
pub(crate) async fn end_node(db: &impl Queries, node: Uuid) -> Result<()> {
    db.execute("delete from stream.presence where node = $1", &[&node])
        .await?;
    db.execute("delete from stream.nodes where id = $1", &[&node])
        .await?;
    Ok(())
}

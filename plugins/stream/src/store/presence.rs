//! Who is there, by hosts that are alive.

use nself_plugin_api::prelude::*;
use uuid::Uuid;

use crate::protocol::ClientInfo;

pub(crate) async fn enter(
    db: &impl Queries,
    channel: &str,
    client: Uuid,
    node: Uuid,
    user: &str,
) -> Result<()> {
    db.query(
        "select stream.enter($1, $2, $3, $4)",
        &[&channel, &client, &node, &user],
    )
    .await?;
    Ok(())
}

pub(crate) async fn leave(db: &impl Queries, channel: &str, client: Uuid) -> Result<()> {
    db.execute(
        "delete from stream.presence where channel = $1 and client = $2",
        &[&channel, &client],
    )
    .await?;
    Ok(())
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

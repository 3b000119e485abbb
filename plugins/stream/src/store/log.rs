//! The log: publications of channels, and positions in it.

use nself_plugin_api::prelude::*;
use serde_json::{Value, json, value::RawValue};
use uuid::Uuid;

use crate::{
    channel::Namespaces,
    hub::Place,
    protocol::{ClientInfo, Publication},
};

/// A publication that is to be made.
pub(crate) struct New<'a> {
    pub channel: &'a str,
    /// JSON.
    pub data: &'a str,
    pub info: Option<&'a ClientInfo>,
    /// JSON.
    pub tags: Option<&'a str>,
    pub key: Option<&'a str>,
}

/// What is new of a channel: its next publication, or that there is none where one should be.
pub(crate) struct News {
    pub channel_id: i64,
    pub publication: Option<Publication>,
}

/// Writes down what the namespaces are, for SQL that publishes.
pub(crate) async fn write_namespaces(db: &impl Queries, namespaces: &Namespaces) -> Result<()> {
    let all: Vec<Value> = namespaces
        .all()
        .map(|(name, rules)| {
            json!({
                "name": name,
                "history_size": rules.history_size,
                "history_seconds": rules.history_seconds,
                "is_ephemeral": rules.ephemeral,
                "bytes_max": rules.message_bytes_max,
            })
        })
        .collect();
    db.query("select stream.write_namespaces($1)", &[&Value::from(all)])
        .await?;
    Ok(())
}

/// Publishes; the offset and the epoch.
pub(crate) async fn append(db: &impl Queries, new: New<'_>) -> Result<(i64, String)> {
    let info = new.info.and_then(|info| serde_json::to_value(info).ok());
    let row = db
        .query_one(
            "select off, epoch from stream.append($1, $2::text::jsonb, $3, $4::text::jsonb, $5)",
            &[&new.channel, &new.data, &info, &new.tags, &new.key],
        )
        .await?;
    Ok((row.get(0)?, row.get(1)?))
}

/// Where a channel is; its row is made when it is not there.
pub(crate) async fn locate(db: &impl Queries, channel: &str) -> Result<Place> {
    let row = db
        .query_one("select id, epoch, top from stream.locate($1)", &[&channel])
        .await?;
    Ok(Place {
        id: row.get(0)?,
        epoch: row.get(1)?,
        top: row.get(2)?,
    })
}

/// Which course of events the log is on.
pub(crate) async fn course(db: &impl Queries) -> Result<String> {
    db.query_one("select stream.course()", &[]).await?.get(0)
}

/// What came behind these positions, at most `step` of each channel.
pub(crate) async fn news(
    db: &impl Queries,
    ids: Vec<i64>,
    offsets: Vec<i64>,
    step: i64,
) -> Result<Vec<News>> {
    db.query(
        "select off, data, info, tags, created_ms, channel_id from stream.news($1, $2, $3)",
        &[&ids, &offsets, &step],
    )
    .await?
    .map(|row| {
        let is_there = row.get::<Option<i64>>(0)?.is_some();
        Ok(News {
            channel_id: row.get(5)?,
            publication: is_there.then(|| publication(row)).transpose()?,
        })
    })
}

/// What is kept of a channel.
pub(crate) async fn history(
    db: &impl Queries,
    channel: &str,
    since: Option<i64>,
    limit: i64,
    is_reverse: bool,
) -> Result<Vec<Publication>> {
    db.query(
        "select off, data, info, tags, created_ms from stream.history($1, $2, $3, $4)",
        &[&channel, &since, &limit, &is_reverse],
    )
    .await?
    .map(publication)
}

fn publication(row: &Row) -> Result<Publication> {
    let json = |text: Option<String>| text.map(RawValue::from_string).transpose();
    Ok(Publication {
        offset: row.get(0)?,
        data: RawValue::from_string(row.get(1)?).map_err(Error::internal)?,
        info: json(row.get(2)?).map_err(Error::internal)?,
        tags: json(row.get(3)?).map_err(Error::internal)?,
        delta: false,
        time: row.get(4)?,
    })
}

/// The host has nothing to read and wants to be woken.
pub(crate) async fn wait(db: &impl Queries, node: Uuid) -> Result<()> {
    db.execute(
        "insert into stream.waiters (node, until) values ($1, clock_timestamp() + interval '1500 milliseconds') \
         on conflict (node) do update set until = excluded.until",
        &[&node],
    )
    .await?;
    Ok(())
}

/// The host is awake.
pub(crate) async fn stop_waiting(db: &impl Queries, node: Uuid) -> Result<()> {
    db.execute("delete from stream.waiters where node = $1", &[&node])
        .await?;
    Ok(())
}

/// Drops what no namespace keeps, a step of it; how much that was.
pub(crate) async fn prune(db: &impl Queries, step: i64) -> Result<i64> {
    db.query_one("select stream.prune($1)", &[&step])
        .await?
        .get(0)
}

/// Removes what is kept of a channel. Where it is in the log stays as it is.
pub(crate) async fn remove(db: &impl Queries, channel: &str) -> Result<()> {
    db.execute(
        "delete from stream.publications p using stream.channels c where c.id = p.channel_id and c.name = $1",
        &[&channel],
    )
    .await?;
    Ok(())
}

/// Removes all that a family has published.
pub(crate) async fn forget_family(db: &impl Queries, family: Uuid) -> Result<()> {
    db.query("select stream.forget_family($1)", &[&family])
        .await?;
    Ok(())
}

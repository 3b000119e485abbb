//! Answers of hosts to what one of them asks.

use std::collections::BTreeMap;

use nself_plugin_api::prelude::*;
use serde_json::Value;
use uuid::Uuid;

type Channels = BTreeMap<String, usize>;

/// Writes down what a host has.
pub(crate) async fn answer(
    db: &impl Queries,
    survey: Uuid,
    node: Uuid,
    channels: &Channels,
) -> Result<()> {
    let channels: Value = serde_json::to_value(channels).map_err(Error::internal)?;
    db.execute(
        "insert into stream.surveys (id, node, channels) values ($1, $2, $3) on conflict do nothing",
        &[&survey, &node, &channels],
    )
    .await?;
    Ok(())
}

/// What the hosts that are alive have, once all of them have said so; `node` is one of them, whatever its lease says.
pub(crate) async fn answers(
    db: &impl Queries,
    survey: Uuid,
    node: Uuid,
) -> Result<Option<Vec<Channels>>> {
    let rows = db
        .query(
            "select s.channels from \
                 (select n.id from stream.nodes n where n.seen_at > clock_timestamp() - interval '10 seconds' \
                  union select $2) alive (id) \
             full join (select * from stream.surveys a where a.id = $1) s on s.node = alive.id",
            &[&survey, &node],
        )
        .await?;
    let answers: Vec<Option<Value>> = rows.map(|row| row.get(0))?;
    let answers = answers.into_iter().collect::<Option<Vec<Value>>>();
    let Some(answers) = answers else {
        return Ok(None);
    };
    let read = answers.into_iter().map(serde_json::from_value);
    let read: std::result::Result<Vec<Channels>, _> = read.collect();
    read.map(Some).map_err(Error::internal)
}

/// The question is answered.
pub(crate) async fn end(db: &impl Queries, survey: Uuid) -> Result<()> {
    db.execute(
        "delete from stream.surveys s where s.id = $1 or s.asked_at < clock_timestamp() - interval '1 minute'",
        &[&survey],
    )
    .await?;
    Ok(())
}

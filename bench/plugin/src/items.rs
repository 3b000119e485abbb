//! Reads of `bench00.items`.

use nself_plugin_api::{http::StatusCode, jiff::Timestamp, prelude::*, uuid::Uuid};

use crate::Bench;

/// One row by its primary key: the length of its name.
pub(crate) async fn one(cx: Cx<Bench>, Path(id): Path<i64>) -> Result<Response> {
    let row = cx
        .db()
        .query_one(
            "select id, family_id, name, amount, created_at from bench00.items where id = $1",
            &[&id],
        )
        .await?;
    Ok(answer(weight(&row)?))
}

/// All 1,000 rows: the sum of what was read.
pub(crate) async fn all(cx: Cx<Bench>) -> Result<Response> {
    let rows = cx
        .db()
        .query(
            "select id, family_id, name, amount, created_at from bench00.items",
            &[],
        )
        .await?;
    Ok(answer(rows.map(weight)?.into_iter().sum()))
}

/// Reads every column, so that none is skipped.
fn weight(row: &Row) -> Result<i64> {
    let (id, family): (i64, Uuid) = (row.get(0)?, row.get(1)?);
    let (name, amount): (&str, i64) = (row.get(2)?, row.get(3)?);
    let created: Timestamp = row.get(4)?;
    let name_bytes = i64::try_from(name.len()).unwrap_or_default();
    Ok(id + i64::from(family.as_bytes()[0] & 1) + name_bytes + amount + (created.as_second() & 1))
}

fn answer(sum: i64) -> Response {
    Response::new(StatusCode::OK, sum.to_string()).content_type("text/plain")
}

//! Jobs in the transaction of their cause.

use nself_plugin_api::{prelude::*, serde_json::Value, uuid::Uuid};

/// Enqueues a job of anybody's; its id.
pub(crate) async fn enqueue(
    tx: &impl Queries,
    kind: &str,
    payload: &Value,
    options: &Value,
) -> Result<i64> {
    tx.query_one(
        "select jobs.enqueue($1, $2::jsonb, $3::jsonb)",
        &[&kind, payload, options],
    )
    .await?
    .get(0)
}

/// Lets the children of an instance end: those of these needs, or all.
pub(crate) async fn cancel_children(
    tx: &impl Queries,
    parent: Uuid,
    needs: Option<&[i64]>,
) -> Result<()> {
    let needs = needs.map(<[i64]>::to_vec).unwrap_or_default();
    let all = needs.is_empty();
    tx.execute(
        "select jobs.enqueue('orchestrator.cancel', jsonb_build_object('instance', i.id), jsonb_build_object('family_id', i.family_id)) \
         from orchestrator.instances i where i.parent_id = $1 and i.ended_at is null and ($2::boolean or i.parent_need = any ($3))",
        &[&parent, &all, &needs],
    )
    .await?;
    Ok(())
}

/// Lets the parent of an instance know that it has ended.
pub(crate) async fn tell_parent(
    tx: &impl Queries,
    child: Uuid,
    family: Option<Uuid>,
) -> Result<()> {
    tx.execute(
        "select jobs.enqueue('orchestrator.ended', jsonb_build_object('instance', $1::uuid), jsonb_build_object('family_id', $2::uuid))",
        &[&child, &family],
    )
    .await?;
    Ok(())
}

/// How a child ended, for its parent.
pub(crate) struct Ended {
    pub parent: Uuid,
    pub need: i64,
    pub status: String,
    pub output: Option<Value>,
    pub error: Option<Value>,
}

/// How a child ended; none while it has not.
pub(crate) async fn child(db: &impl Queries, id: Uuid) -> Result<Option<Ended>> {
    let row = db
        .query_opt(
            "select i.parent_id, i.parent_need, i.status, i.output, i.error from orchestrator.instances i \
             where i.id = $1 and i.parent_id is not null and i.ended_at is not null",
            &[&id],
        )
        .await?;
    row.map(|row| {
        Ok(Ended {
            parent: row.get("parent_id")?,
            need: row.get("parent_need")?,
            status: row.get("status")?,
            output: row.get("output")?,
            error: row.get("error")?,
        })
    })
    .transpose()
}

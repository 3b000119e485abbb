//! Families that are gone for good.

use nself_plugin_api::{prelude::*, uuid::Uuid};

/// Notes that a family is gone.
pub(crate) async fn note_gone(db: &impl Queries, family: Uuid) -> Result<()> {
    db.execute(
        "insert into jobs.gone_families (family_id) values ($1) on conflict do nothing",
        &[&family],
    )
    .await?;
    Ok(())
}

/// Those that are still looked for, after the others were let go.
pub(crate) async fn gone(db: &impl Queries, hours: i32) -> Result<Vec<Uuid>> {
    db.execute(
        "delete from jobs.gone_families g where g.gone_at < clock_timestamp() - make_interval(hours => $1)",
        &[&hours],
    )
    .await?;
    db.query("select family_id from jobs.gone_families", &[])
        .await?
        .map(|row| row.get("family_id"))
}

/// Takes away at most `jobs_max` jobs of a family that have not finished; how many.
pub(crate) async fn forget(db: &impl Queries, family: Uuid, jobs_max: i32) -> Result<i64> {
    db.query_one("select jobs.forget_family($1, $2)", &[&family, &jobs_max])
        .await?
        .get(0)
}

/// What came of a look at finished jobs.
pub(crate) struct Look {
    /// The last job that was looked at; none at the end of all.
    pub last: Option<i64>,
    /// Jobs that were taken away.
    pub forgotten: i64,
}

/// Takes away the family's among the next `looks_max` finished jobs.
pub(crate) async fn forget_finished(
    db: &impl Queries,
    family: Uuid,
    after: i64,
    looks_max: i32,
) -> Result<Look> {
    let row = db
        .query_one(
            "select last, forgotten from jobs.forget_finished($1, $2, $3)",
            &[&family, &after, &looks_max],
        )
        .await?;
    Ok(Look {
        last: row.get("last")?,
        forgotten: row.get("forgotten")?,
    })
}

//! Who waits for news of a run on another host.

use nself_plugin_api::{prelude::*, uuid::Uuid};

/// Where hosts tell each other: something happened to the run that the payload names.
pub(crate) const CHANNEL: &str = "nself_orchestrator_runs";

/// Somebody on this host waits for news of a run. Nothing is written to the disk for it.
pub(crate) async fn mark(db: &impl Queries, run: Uuid, host: Uuid, seconds: i32) -> Result<()> {
    db.execute(
        "insert into orchestrator.watchers as w (instance_id, host, until) \
         values ($1, $2, clock_timestamp() + make_interval(secs => $3::integer)) \
         on conflict (instance_id, host) do update set until = excluded.until",
        &[&run, &host, &seconds],
    )
    .await?;
    Ok(())
}

/// Tells the other hosts on which somebody waits.
pub(crate) async fn tell(tx: &impl Queries, run: Uuid, host: Uuid) -> Result<()> {
    tx.execute(
        "select pg_notify($3, $1::uuid::text) where exists ( \
             select from orchestrator.watchers w where w.instance_id = $1 and w.host <> $2 and w.until > clock_timestamp())",
        &[&run, &host, &CHANNEL],
    )
    .await?;
    Ok(())
}

/// Deletes marks that hold no more.
pub(crate) async fn prune(db: &impl Queries) -> Result<u64> {
    db.execute(
        "delete from orchestrator.watchers w where w.until < clock_timestamp()",
        &[],
    )
    .await
}

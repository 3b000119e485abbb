//! Schedules whose jobs are a family's.

use nself_plugin_api::{prelude::*, uuid::Uuid};

/// Whether a schedule, which the statement calls `s`, makes jobs of the family `$1`: a UUID is written in more than one way.
macro_rules! is_of_family {
    () => {
        "translate(lower(s.action #>> '{options,family_id}'), '{}-', '') = translate($1::uuid::text, '-', '')"
    };
}

/// Removes those that were made over HTTP or for one event, with their history; how many.
pub(crate) async fn remove(tx: &impl Queries, family: Uuid) -> Result<u64> {
    tx.execute(
        concat!(
            "delete from scheduler.schedules s where s.owner in ('api', 'event') and ",
            is_of_family!()
        ),
        &[&family],
    )
    .await
}

/// Lets the others rest, and forgets what they fired: they are kept elsewhere, and would come back; how many.
pub(crate) async fn rest(tx: &impl Queries, family: Uuid, who: &str, reason: &str) -> Result<u64> {
    tx.execute(
        concat!(
            "with resting as ( \
                 update scheduler.schedules s set paused_at = coalesce(s.paused_at, clock_timestamp()), paused_by = $2, pause_reason = $3 \
                 where ",
            is_of_family!(),
            " returning s.id \
             ), gone as ( \
                 delete from scheduler.fires f using resting r where f.schedule_id = r.id \
             ) \
             select r.id from resting r"
        ),
        &[&family, &who, &reason],
    )
    .await
}

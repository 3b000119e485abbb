//! `auth.failed_proofs`.

use nself_plugin_api::{jiff::Timestamp, prelude::*};
use uuid::Uuid;

/// Counts a wrong proof. The first one is in the audit log with this statement.
pub(crate) async fn note(
    db: &impl Queries,
    user_id: Option<Uuid>,
    way: &str,
    network: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    db.query(
        "with counted as (\
           insert into auth.failed_proofs as f (account, way, networks, began_at, last_at) \
           values ($1, $2, array_remove(array[$3::text], null), $4, $4) \
           on conflict (account, way) do update set tries = f.tries + 1, last_at = excluded.last_at, \
             networks = case when cardinality(f.networks) >= 16 or f.networks @> excluded.networks then f.networks \
               else f.networks || excluded.networks end \
           returning *) \
         select nself.audit('auth.proof_failed', nullif(account, $5)::text, \
           jsonb_build_object('way', way, 'tries', tries, 'networks', networks, 'since', began_at)) \
         from counted where tries = 1",
        &[
            &user_id.unwrap_or_default(),
            &way,
            &network,
            &now,
            &Uuid::nil(),
        ],
    )
    .await?;
    Ok(())
}

/// Writes the counts that were begun before then into the audit log, and forgets them; at most so many at once. One that did
/// not grow is there already.
pub(crate) async fn write(db: &impl Queries, before: Timestamp, step: i64) -> Result<u64> {
    let row = db
        .query_one(
            "with over as (\
               delete from auth.failed_proofs where (account, way) in (\
                 select account, way from auth.failed_proofs where began_at <= $1 limit $2 for update skip locked) \
               returning *), \
             written as materialized (\
               select nself.audit('auth.proof_failed', nullif(account, $3)::text, \
                 jsonb_build_object('way', way, 'tries', tries, 'networks', networks, 'since', began_at, \
                   'until', last_at)) \
               from (select * from over order by account, way) o where tries > 1) \
             select (select count(*) from over) as forgotten, (select count(*) from written) as written",
            &[&before, &step, &Uuid::nil()],
        )
        .await?;
    Ok(row.get::<i64>("forgotten")?.unsigned_abs())
}

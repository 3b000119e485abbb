//! What instances wait for, and outcomes that have to wait themselves.

use nself_plugin_api::{jiff::Timestamp, prelude::*, serde_json::Value, uuid::Uuid};

/// A need that is to be kept, and the job that looks after it.
#[derive(Debug)]
pub(crate) struct New<'a> {
    pub need: i64,
    pub kind: &'a str,
    pub due_at: Option<Timestamp>,
    pub filters: Option<Value>,
    pub types: Option<Vec<String>>,
    /// The job that looks after it already.
    pub job: Option<i64>,
}

/// Keeps a need; whether it is new. Calls and timers get their job with it, when no job looks after them already.
pub(crate) async fn open(
    tx: &impl Queries,
    instance: Uuid,
    family: Option<Uuid>,
    new: &New<'_>,
) -> Result<bool> {
    let types = new.types.clone().map(Value::from);
    let opened = tx.execute(
        "insert into orchestrator.needs (instance_id, need, kind, due_at, filters, types, job_id) \
         values ($1, $2, $3, $4, $5, (select array_agg(t) from jsonb_array_elements_text($6::jsonb) t), \
             case when $8::bigint is not null then $8 when $3 = 'call' then \
                 jobs.enqueue('orchestrator.call', jsonb_build_object('instance', $1::uuid, 'need', $2::bigint), \
                     jsonb_build_object('family_id', $7::uuid)) \
             when $3 = 'timer' then \
                 jobs.enqueue('orchestrator.timer', jsonb_build_object('instance', $1::uuid, 'need', $2::bigint), \
                     jsonb_build_object('family_id', $7::uuid, 'run_at', $4::timestamptz)) \
             end) \
         on conflict do nothing",
        &[
            &instance,
            &new.need,
            &new.kind,
            &new.due_at,
            &new.filters,
            &types,
            &family,
            &new.job,
        ],
    )
    .await?;
    Ok(opened == 1)
}

/// The calls that a job looks after, or that it was enqueued for: one that has gone on takes the next one over, and may be worked
/// once more by another host.
pub(crate) async fn of_job(
    tx: &impl Queries,
    instance: Uuid,
    need: i64,
    job: i64,
) -> Result<Vec<i64>> {
    tx.query(
        "select n.need from orchestrator.needs n where n.instance_id = $1 and n.kind = 'call' and (n.need = $2 or n.job_id = $3) order by n.need",
        &[&instance, &need, &job],
    )
    .await?
    .map(|row| row.get("need"))
}

/// Lets another job look after what a job has looked after.
pub(crate) async fn hand_on(tx: &impl Queries, instance: Uuid, from: i64, to: i64) -> Result<()> {
    tx.execute(
        "update orchestrator.needs n set job_id = $3 where n.instance_id = $1 and n.job_id = $2",
        &[&instance, &from, &to],
    )
    .await?;
    Ok(())
}

/// Closes needs, and takes back the jobs of timers: the others find nothing to do.
pub(crate) async fn close(tx: &impl Queries, instance: Uuid, needs: &[i64]) -> Result<()> {
    tx.execute(
        "with gone as (delete from orchestrator.needs n where n.instance_id = $1 and n.need = any ($2) returning n.kind, n.job_id, n.due_at) \
         select jobs.cancel(g.job_id, 'the workflow needs it no more') from gone g where g.kind = 'timer' and g.due_at > clock_timestamp()",
        &[&instance, &needs],
    )
    .await?;
    Ok(())
}

/// Closes all needs of an instance, but the commands and children, which are told first.
pub(crate) async fn close_all(tx: &impl Queries, instance: Uuid) -> Result<()> {
    let open = tx
        .query(
            "select n.need from orchestrator.needs n where n.instance_id = $1",
            &[&instance],
        )
        .await?
        .map(|row| row.get::<i64>("need"))?;
    close(tx, instance, &open).await
}

/// The needs of an instance that are open.
pub(crate) async fn of(tx: &impl Queries, instance: Uuid) -> Result<Vec<i64>> {
    tx.query(
        "select n.need from orchestrator.needs n where n.instance_id = $1",
        &[&instance],
    )
    .await?
    .map(|row| row.get("need"))
}

/// A need that is open, for those who look at its instance.
#[derive(Debug)]
pub(crate) struct Open {
    pub need: i64,
    pub kind: String,
    pub due_at: Option<Timestamp>,
    pub filters: Option<Value>,
    pub since: Timestamp,
    pub job_id: Option<i64>,
    pub job_state: Option<String>,
    pub run_id: Option<Uuid>,
    pub command_id: Option<Uuid>,
}

/// The open needs of an instance, the first hundred, with who meets them.
pub(crate) async fn open_of(db: &impl Queries, instance: Uuid) -> Result<Vec<Open>> {
    db.query(
        "select n.need, n.kind, n.due_at, n.filters, n.created_at as since, c.job_id, jobs.state(c.job_id) as job_state, \
             (select i.id from orchestrator.instances i \
                 where n.kind = 'child' and i.parent_id = n.instance_id and i.parent_need = n.need) as run_id, \
             (select d.id from orchestrator.device_commands d \
                 where n.kind = 'call' and d.instance_id = n.instance_id and d.need = n.need and d.ended_at is null limit 1) as command_id \
         from orchestrator.needs n cross join lateral (select case when n.kind = 'call' then n.job_id end as job_id) c \
         where n.instance_id = $1 order by n.need limit 100",
        &[&instance],
    )
    .await?
    .map(|row| {
        Ok(Open {
            need: row.get("need")?,
            kind: row.get("kind")?,
            due_at: row.get("due_at")?,
            filters: row.get("filters")?,
            since: row.get("since")?,
            job_id: row.get("job_id")?,
            job_state: row.get("job_state")?,
            run_id: row.get("run_id")?,
            command_id: row.get("command_id")?,
        })
    })
}

/// The timers of an instance that are due.
pub(crate) async fn due(tx: &impl Queries, instance: Uuid) -> Result<Vec<i64>> {
    tx.query(
        "select n.need from orchestrator.needs n \
         where n.instance_id = $1 and n.kind = 'timer' and n.due_at <= clock_timestamp() order by n.due_at, n.need",
        &[&instance],
    )
    .await?
    .map(|row| row.get("need"))
}

/// Keeps an outcome until the instance goes on.
pub(crate) async fn put_aside(
    tx: &impl Queries,
    instance: Uuid,
    need: i64,
    outcome: &Value,
) -> Result<()> {
    tx.execute(
        "insert into orchestrator.outcomes (instance_id, need, outcome) values ($1, $2, $3)",
        &[&instance, &need, outcome],
    )
    .await?;
    Ok(())
}

/// Takes the outcomes that were put aside, in their order.
pub(crate) async fn take(tx: &impl Queries, instance: Uuid) -> Result<Vec<(i64, Value)>> {
    tx.query(
        "with taken as (delete from orchestrator.outcomes o where o.instance_id = $1 returning o.number, o.need, o.outcome) \
         select t.need, t.outcome from taken t order by t.number",
        &[&instance],
    )
    .await?
    .map(|row| Ok((row.get("need")?, row.get("outcome")?)))
}

/// Lets the next advance look once more for events that came in the meantime, this one among them.
pub(crate) async fn look_again(tx: &impl Queries, instance: Uuid, event: Uuid) -> Result<()> {
    tx.execute(
        "update orchestrator.needs n set is_looked = false, \
             heard_xid = case when (e.xid, e.number - 1) < (n.heard_xid, n.heard_number) then e.xid else n.heard_xid end, \
             heard_number = case when (e.xid, e.number - 1) < (n.heard_xid, n.heard_number) then e.number - 1 else n.heard_number end \
         from orchestrator.events e where e.id = $2 and n.instance_id = $1 and n.kind = 'event'",
        &[&instance, &event],
    )
    .await?;
    Ok(())
}

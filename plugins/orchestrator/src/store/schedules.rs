//! Workflows that start by themselves.

use nself_plugin_api::{jiff::Timestamp, prelude::*, serde_json::Value, uuid::Uuid};

/// What a workflow's highest version says of its schedule.
#[derive(Debug)]
pub(crate) struct Said {
    pub definition_id: Uuid,
    pub schedule: Option<Value>,
}

/// What starts, and when.
#[derive(Debug)]
pub(crate) struct New<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub definition_id: Uuid,
    pub after_seconds: Option<f64>,
    pub filters: Option<Value>,
    pub types: Option<Vec<String>>,
}

/// What a start needs to know.
#[derive(Debug)]
pub(crate) struct Starts {
    pub id: Uuid,
    pub definition_id: Uuid,
    pub namespace: String,
    pub name: String,
    pub version: String,
    pub for_families: bool,
}

/// An interval or times of day, for the plugin that keeps schedules.
#[derive(Debug)]
pub(crate) struct Timed {
    pub namespace: String,
    pub name: String,
    pub schedule: Value,
    pub zone: Option<String>,
}

const STARTS: &str = "s.id, s.definition_id, s.namespace, s.name, d.version, d.for_families from orchestrator.schedules s \
     join orchestrator.definitions d on d.id = s.definition_id";

fn starts(row: &Row) -> Result<Starts> {
    Ok(Starts {
        id: row.get("id")?,
        definition_id: row.get("definition_id")?,
        namespace: row.get("namespace")?,
        name: row.get("name")?,
        version: row.get("version")?,
        for_families: row.get("for_families")?,
    })
}

/// Waits for its turn: who keeps the schedule of a workflow is decided by one after the other.
pub(crate) async fn one_at_a_time(tx: &impl Queries, namespace: &str, name: &str) -> Result<()> {
    tx.execute(
        "select pg_advisory_xact_lock(hashtextextended('orchestrator.schedule ' || $1 || '/' || $2, 0))",
        &[&namespace, &name],
    )
    .await?;
    Ok(())
}

/// What a version says.
pub(crate) async fn said(
    tx: &impl Queries,
    namespace: &str,
    name: &str,
    version: &str,
) -> Result<Option<Said>> {
    let row = tx
        .query_opt(
            "select d.id, d.schedule from orchestrator.definitions d \
             where d.namespace = $1 and d.name = $2 and d.version = $3 and d.removed_at is null",
            &[&namespace, &name, &version],
        )
        .await?;
    row.map(|row| {
        Ok(Said {
            definition_id: row.get("id")?,
            schedule: row.get("schedule")?,
        })
    })
    .transpose()
}

/// The definition that keeps the schedule of a workflow now.
pub(crate) async fn keeper(tx: &impl Queries, namespace: &str, name: &str) -> Result<Option<Uuid>> {
    let row = tx
        .query_opt(
            "select s.definition_id from orchestrator.schedules s where s.namespace = $1 and s.name = $2",
            &[&namespace, &name],
        )
        .await?;
    row.map(|row| row.get("definition_id")).transpose()
}

/// Ends the schedule of a workflow.
pub(crate) async fn remove(tx: &impl Queries, namespace: &str, name: &str) -> Result<()> {
    tx.execute(
        "delete from orchestrator.schedules s where s.namespace = $1 and s.name = $2",
        &[&namespace, &name],
    )
    .await?;
    Ok(())
}

/// Another definition keeps the schedule of a workflow: what was gathered for the one before it is forgotten.
pub(crate) async fn put(tx: &impl Queries, new: &New<'_>) -> Result<Uuid> {
    let types = new.types.clone().map(Value::from);
    let id: Uuid = tx
        .query_one(
            "insert into orchestrator.schedules as s (namespace, name, definition_id, after_seconds, filters, types) \
             values ($1, $2, $3, $4, $5, case when $6::jsonb is not null then array(select jsonb_array_elements_text($6::jsonb)) end) \
             on conflict (namespace, name) do update set definition_id = excluded.definition_id, generation = s.generation + 1, \
                 after_seconds = excluded.after_seconds, filters = excluded.filters, types = excluded.types \
             returning s.id",
            &[
                &new.namespace,
                &new.name,
                &new.definition_id,
                &new.after_seconds,
                &new.filters,
                &types,
            ],
        )
        .await?
        .get("id")?;
    tx.execute(
        "delete from orchestrator.gatherings g where g.schedule_id = $1",
        &[&id],
    )
    .await?;
    Ok(id)
}

/// Lets the next run start after its pause, if the workflow has one: counted from now. While one runs, its end says that.
pub(crate) async fn pause(tx: &impl Queries, id: Uuid) -> Result<()> {
    tx.execute(
        "select jobs.enqueue('orchestrator.again', jsonb_build_object('schedule', s.id, 'generation', s.generation), \
             jsonb_build_object('run_at', clock_timestamp() + make_interval(secs => s.after_seconds))) \
         from orchestrator.schedules s where s.id = $1 and s.after_seconds is not null \
           and not exists (select from orchestrator.instances i where i.schedule_id = s.id and i.ended_at is null)",
        &[&id],
    )
    .await?;
    Ok(())
}

/// What starts after a pause, held; none when something else has happened since that was meant.
pub(crate) async fn hold_paused(
    tx: &impl Queries,
    id: Uuid,
    generation: i64,
) -> Result<Option<Starts>> {
    let sql = format!(
        "select {STARTS} where s.id = $1 and s.generation = $2 and s.after_seconds is not null \
           and not exists (select from orchestrator.instances i where i.schedule_id = s.id and i.ended_at is null) \
         for update of s"
    );
    let row = tx.query_opt(&sql, &[&id, &generation]).await?;
    row.as_ref().map(starts).transpose()
}

/// The run after the pause has started.
pub(crate) async fn began(tx: &impl Queries, id: Uuid) -> Result<()> {
    tx.execute(
        "update orchestrator.schedules s set generation = s.generation + 1 where s.id = $1",
        &[&id],
    )
    .await?;
    Ok(())
}

/// What starts when the time of a workflow's schedule has come.
pub(crate) async fn find(tx: &impl Queries, namespace: &str, name: &str) -> Result<Option<Starts>> {
    let sql = format!("select {STARTS} where s.namespace = $1 and s.name = $2");
    let row = tx.query_opt(&sql, &[&namespace, &name]).await?;
    row.as_ref().map(starts).transpose()
}

/// All intervals and times of day. Whoever hands them over does that one after the other.
pub(crate) async fn hold_timed(tx: &impl Queries) -> Result<Vec<Timed>> {
    tx.execute(
        "select pg_advisory_xact_lock(hashtextextended('orchestrator.schedules', 0))",
        &[],
    )
    .await?;
    tx.query(
        "select s.namespace, s.name, d.schedule, d.zone from orchestrator.schedules s \
         join orchestrator.definitions d on d.id = s.definition_id \
         where d.schedule ?| array['cron', 'every'] order by s.namespace, s.name",
        &[],
    )
    .await?
    .map(|row| {
        Ok(Timed {
            namespace: row.get("namespace")?,
            name: row.get("name")?,
            schedule: row.get("schedule")?,
            zone: row.get("zone")?,
        })
    })
}

/// Lets a job hand the times over to whoever keeps schedules.
pub(crate) async fn hand_over(tx: &impl Queries) -> Result<()> {
    tx.execute("select jobs.enqueue('orchestrator.schedules')", &[])
        .await?;
    Ok(())
}

/// The same where there are any.
pub(crate) async fn hand_over_some(db: &impl Queries) -> Result<()> {
    db.execute(
        "select jobs.enqueue('orchestrator.schedules') where exists (select from orchestrator.schedules)",
        &[],
    )
    .await?;
    Ok(())
}

/// An event, for what it may start.
#[derive(Debug)]
pub(crate) struct Offer {
    pub event: Value,
    pub family_id: Option<Uuid>,
    pub is_trusted: bool,
    /// How many runs stand behind it.
    pub depth: i32,
}

/// An event that has not been offered yet and may start something: it has been from then on.
pub(crate) async fn take_offer(tx: &impl Queries, event: Uuid) -> Result<Option<Offer>> {
    let row = tx
        .query_opt(
            "update orchestrator.events e set is_offered = true where e.id = $1 and not e.is_offered \
             returning e.event, e.family_id, e.is_trusted, e.depth",
            &[&event],
        )
        .await?;
    row.map(|row| {
        Ok(Offer {
            event: row.get("event")?,
            family_id: row.get("family_id")?,
            is_trusted: row.get("is_trusted")?,
            depth: row.get("depth")?,
        })
    })
    .transpose()
}

/// Workflows that an event may start, with their filters.
pub(crate) async fn started_by(db: &impl Queries, event: Uuid) -> Result<Vec<(Starts, Value)>> {
    let sql = format!(
        "select s.filters, {STARTS} join orchestrator.events e on s.types is null or e.type = any (s.types) \
         where e.id = $1 and not e.is_offered and s.filters is not null order by s.id"
    );
    db.query(&sql, &[&event])
        .await?
        .map(|row| Ok((starts(row)?, row.get("filters")?)))
}

/// Holds a schedule that an event may start; false when it is gone, or another definition keeps it by now.
pub(crate) async fn hold(tx: &impl Queries, starts: &Starts) -> Result<bool> {
    let row = tx
        .query_opt(
            "select 1 from orchestrator.schedules s where s.id = $1 and s.definition_id = $2 for update",
            &[&starts.id, &starts.definition_id],
        )
        .await?;
    Ok(row.is_some())
}

/// What has come so far for the next run.
pub(crate) async fn gathered(
    tx: &impl Queries,
    id: Uuid,
    family: Option<Uuid>,
) -> Result<Option<Vec<u8>>> {
    let row = tx
        .query_opt(
            "select g.state from orchestrator.gatherings g where g.schedule_id = $1 and g.family_id is not distinct from $2",
            &[&id, &family],
        )
        .await?;
    row.map(|row| row.get("state")).transpose()
}

/// Keeps what has come so far.
pub(crate) async fn gather(
    tx: &impl Queries,
    id: Uuid,
    family: Option<Uuid>,
    state: &[u8],
) -> Result<()> {
    tx.execute(
        "insert into orchestrator.gatherings (schedule_id, family_id, state) values ($1, $2, $3) \
         on conflict (schedule_id, family_id) do update set state = excluded.state",
        &[&id, &family, &state],
    )
    .await?;
    Ok(())
}

/// Forgets what has come: the run has started.
pub(crate) async fn scatter(tx: &impl Queries, id: Uuid, family: Option<Uuid>) -> Result<()> {
    tx.execute(
        "delete from orchestrator.gatherings g where g.schedule_id = $1 and g.family_id is not distinct from $2",
        &[&id, &family],
    )
    .await?;
    Ok(())
}

/// Forgets what has come for a family; how many.
pub(crate) async fn forget(tx: &impl Queries, family: Uuid) -> Result<u64> {
    tx.execute(
        "delete from orchestrator.gatherings g where g.family_id = $1",
        &[&family],
    )
    .await
}

/// Which events anybody here may listen to.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// Who came later is not in it, and neither did he hear what was told before.
    pub until: Timestamp,
    /// The types; none when they may be any.
    pub types: Option<Vec<String>>,
}

/// Which events runs and schedules may listen to now.
pub(crate) async fn heard(db: &impl Queries) -> Result<Heard> {
    // The time of the statement is before what it sees.
    let row = db
        .query_one(
            "with w as ( \
                 select d.hears as types from orchestrator.definitions d \
                 where d.hears is distinct from '{}' \
                   and exists (select from orchestrator.instances i where i.definition_id = d.id and i.ended_at is null) \
                 union all \
                 select s.types from orchestrator.schedules s where s.filters is not null \
             ) \
             select statement_timestamp() as until, exists (select from w where w.types is null) as is_all, \
                 array(select distinct t from w, unnest(w.types) as t) as types",
            &[],
        )
        .await?;
    let is_all: bool = row.get("is_all")?;
    Ok(Heard {
        until: row.get("until")?,
        types: if is_all {
            None
        } else {
            Some(row.get("types")?)
        },
    })
}

//! Instances of workflows: rows that one advance at a time holds.

use nself_plugin_api::{Schema, jiff::Timestamp, prelude::*, serde_json::Value, uuid::Uuid};
use serde::Serialize;

use crate::standing::{Current, WaitsFor};

/// An instance as those see it who may look at it.
#[derive(Debug, Clone, Serialize, Schema)]
pub(crate) struct Instance {
    /// Which one.
    pub id: Uuid,
    /// Where its workflow belongs.
    pub namespace: String,
    /// The workflow.
    pub name: String,
    /// Its version, which the instance keeps.
    pub version: String,
    /// The family that it runs for.
    pub family_id: Option<Uuid>,
    /// `running`, `waiting`, `suspended`, `completed`, `faulted` or `cancelled`.
    pub status: String,
    /// What whoever started it calls it: the `Idempotency-Key` of the request.
    pub key: Option<String>,
    /// What came in.
    pub input: Value,
    /// What went out.
    pub output: Option<Value>,
    /// What went wrong.
    pub error: Option<Value>,
    /// The instance that waits for it.
    pub parent_id: Option<Uuid>,
    /// Who started it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When something happened to it last.
    pub updated_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The tasks that are under way, the innermost of each branch. It stands in the answer to a question for one run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<Vec<Current>>,
    /// What it waits for, the first hundred. It stands in the answer to a question for one run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<Vec<WaitsFor>>,
}

const COLUMNS: &str = "i.id, i.namespace, i.name, i.version, i.family_id, \
     case when i.ended_at is null and i.suspended_at is not null then 'suspended' else i.status end as status, \
     i.key, i.input, i.output, i.error, i.parent_id, i.created_by, i.created_at, i.updated_at, i.ended_at";

fn instance(row: &Row) -> Result<Instance> {
    Ok(Instance {
        id: row.get("id")?,
        namespace: row.get("namespace")?,
        name: row.get("name")?,
        version: row.get("version")?,
        family_id: row.get("family_id")?,
        status: row.get("status")?,
        key: row.get("key")?,
        input: row.get("input")?,
        output: row.get("output")?,
        error: row.get("error")?,
        parent_id: row.get("parent_id")?,
        created_by: row.get("created_by")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
        ended_at: row.get("ended_at")?,
        current: None,
        waits_for: None,
    })
}

/// The state of an instance that has not ended; none before its first advance.
pub(crate) async fn state(db: &impl Queries, id: Uuid) -> Result<Option<Vec<u8>>> {
    let row = db
        .query_opt(
            "select i.state from orchestrator.instances i where i.id = $1 and i.ended_at is null",
            &[&id],
        )
        .await?;
    row.map_or(Ok(None), |row| row.get("state"))
}

/// An instance that is to be started.
#[derive(Debug)]
pub(crate) struct New<'a> {
    pub definition_id: Uuid,
    pub namespace: &'a str,
    pub name: &'a str,
    pub version: &'a str,
    pub family_id: Option<Uuid>,
    pub input: &'a Value,
    pub key: Option<&'a str>,
    pub parent: Option<(Uuid, i64)>,
    pub depth: i32,
    /// The schedule that starts the next one when this one has ended.
    pub schedule_id: Option<Uuid>,
    pub created_by: &'a str,
}

/// Keeps an instance; none when its key has one already. Whoever makes it begins it.
pub(crate) async fn add(tx: &impl Queries, new: &New<'_>) -> Result<Option<(Uuid, Held)>> {
    let row = tx
        .query_opt(
            &format!(
                "insert into orchestrator.instances as i (definition_id, namespace, name, version, family_id, input, key, depth, created_by, schedule_id) \
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict do nothing returning i.id, {HELD}"
            ),
            &[
                &new.definition_id,
                &new.namespace,
                &new.name,
                &new.version,
                &new.family_id,
                new.input,
                &new.key,
                &new.depth,
                &new.created_by,
                &new.schedule_id,
            ],
        )
        .await?;
    row.map(|row| Ok((row.get("id")?, held(&row)?))).transpose()
}

/// Keeps an instance, with the job that begins it; none when its key, or its parent's need, has one already.
pub(crate) async fn start(tx: &impl Queries, new: &New<'_>) -> Result<Option<Uuid>> {
    let row = tx
        .query_opt(
            "with i as ( \
                 insert into orchestrator.instances (definition_id, namespace, name, version, family_id, input, key, parent_id, parent_need, \
                     depth, created_by, schedule_id, is_queued) \
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, true) on conflict do nothing returning id, family_id \
             ) \
             select i.id, jobs.enqueue('orchestrator.advance', jsonb_build_object('instance', i.id), \
                 jsonb_build_object('family_id', i.family_id)) from i",
            &[
                &new.definition_id,
                &new.namespace,
                &new.name,
                &new.version,
                &new.family_id,
                new.input,
                &new.key,
                &new.parent.map(|(id, _)| id),
                &new.parent.map(|(_, need)| need),
                &new.depth,
                &new.created_by,
                &new.schedule_id,
            ],
        )
        .await?;
    row.map(|row| row.get("id")).transpose()
}

/// The instance of a key, with its input.
pub(crate) async fn by_key(
    tx: &impl Queries,
    namespace: &str,
    name: &str,
    family: Option<Uuid>,
    key: &str,
) -> Result<Option<Instance>> {
    let sql = format!(
        "select {COLUMNS} from orchestrator.instances i \
         where i.namespace = $1 and i.name = $2 and i.family_id is not distinct from $3 and i.key = $4"
    );
    let row = tx
        .query_opt(&sql, &[&namespace, &name, &family, &key])
        .await?;
    row.as_ref().map(instance).transpose()
}

/// How many instances of a family have not ended.
pub(crate) async fn open(tx: &impl Queries, family: Uuid) -> Result<i64> {
    tx.query_one(
        "select count(*) from orchestrator.instances i where i.family_id = $1 and i.ended_at is null",
        &[&family],
    )
    .await?
    .get(0)
}

/// Whether a family has at most so many instances that have not ended. Those of this transaction count as well, and nobody else starts one
/// of that family until it ends.
pub(crate) async fn has_at_most(tx: &impl Queries, family: Uuid, most: u32) -> Result<bool> {
    let most = i32::try_from(most).unwrap_or(i32::MAX);
    tx.query_one("select orchestrator.has_at_most($1, $2)", &[&family, &most])
        .await?
        .get(0)
}

/// An instance.
pub(crate) async fn find(
    db: &impl Queries,
    id: Uuid,
    family: Option<Uuid>,
) -> Result<Option<Instance>> {
    let sql = format!(
        "select {COLUMNS} from orchestrator.instances i where i.id = $1 and ($2::uuid is null or i.family_id = $2)"
    );
    let row = db.query_opt(&sql, &[&id, &family]).await?;
    row.as_ref().map(instance).transpose()
}

/// At most two whose ids begin or end like this, among the newest.
pub(crate) async fn by_part(db: &impl Queries, part: &str) -> Result<Vec<Uuid>> {
    db.query(
        "select n.id from (select i.id from orchestrator.instances i order by i.id desc limit 100000) as n \
         where n.id::text like $1 || '%' or n.id::text like '%' || $1 limit 2",
        &[&part],
    )
    .await?
    .map(|row| row.get("id"))
}

/// Which workflow a run is of.
#[derive(Debug)]
pub(crate) struct Of {
    pub namespace: String,
    pub name: String,
    pub version: String,
    pub depth: i32,
}

/// Which workflow a run is of; none when it is gone.
pub(crate) async fn of(db: &impl Queries, id: Uuid) -> Result<Option<Of>> {
    let row = db
        .query_opt(
            "select i.namespace, i.name, i.version, i.depth from orchestrator.instances i where i.id = $1",
            &[&id],
        )
        .await?;
    row.map(|row| {
        Ok(Of {
            namespace: row.get("namespace")?,
            name: row.get("name")?,
            version: row.get("version")?,
            depth: row.get("depth")?,
        })
    })
    .transpose()
}

/// Which instances.
#[derive(Debug)]
pub(crate) struct Which<'a> {
    pub family: Option<Uuid>,
    pub namespace: Option<&'a str>,
    pub name: Option<&'a str>,
    pub status: Option<&'a str>,
    pub key: Option<&'a str>,
    pub before: Option<Uuid>,
    pub limit: i64,
}

/// A page of instances, the newest first.
pub(crate) async fn list(db: &impl Queries, which: &Which<'_>) -> Result<Vec<Instance>> {
    // A condition that may be none is not looked for in an index.
    let of_key = match which.key {
        Some(_) => "i.key = $7",
        None => "$7::text is null",
    };
    let sql = format!(
        "select {COLUMNS} from orchestrator.instances i \
         where {of_key} and ($1::uuid is null or i.family_id = $1) and ($2::text is null or i.namespace = $2) and ($3::text is null or i.name = $3) \
           and ($4::text is null or $4 = case when i.ended_at is null and i.suspended_at is not null then 'suspended' else i.status end) \
           and ($5::uuid is null or i.id < $5) \
         order by i.id desc limit $6"
    );
    db.query(
        &sql,
        &[
            &which.family,
            &which.namespace,
            &which.name,
            &which.status,
            &which.before,
            &which.limit,
            &which.key,
        ],
    )
    .await?
    .map(instance)
}

/// What an advance needs to know of the instance that it holds.
#[derive(Debug)]
pub(crate) struct Held {
    pub definition_id: Uuid,
    pub family_id: Option<Uuid>,
    pub is_open: bool,
    pub is_suspended: bool,
    pub is_cancelling: bool,
    pub status: String,
    pub input: Value,
    pub state: Option<Vec<u8>>,
    pub epoch: i64,
    pub records: i64,
    pub depth: i32,
    pub parent_id: Option<Uuid>,
    pub schedule_id: Option<Uuid>,
    pub events_after: i64,
    pub now: Timestamp,
}

const HELD: &str = "i.definition_id, i.family_id, i.ended_at is null as is_open, i.suspended_at is not null as is_suspended, \
     i.is_cancelling, i.status, i.input, i.state, i.epoch, i.records, i.depth, i.parent_id, i.schedule_id, i.events_after, clock_timestamp() as now";

fn held(row: &Row) -> Result<Held> {
    Ok(Held {
        definition_id: row.get("definition_id")?,
        family_id: row.get("family_id")?,
        is_open: row.get("is_open")?,
        is_suspended: row.get("is_suspended")?,
        is_cancelling: row.get("is_cancelling")?,
        status: row.get("status")?,
        input: row.get("input")?,
        state: row.get("state")?,
        epoch: row.get("epoch")?,
        records: row.get("records")?,
        depth: row.get("depth")?,
        parent_id: row.get("parent_id")?,
        schedule_id: row.get("schedule_id")?,
        events_after: row.get("events_after")?,
        now: row.get("now")?,
    })
}

/// Holds an instance until the transaction ends: nobody else advances or steers it.
pub(crate) async fn hold(tx: &impl Queries, id: Uuid) -> Result<Option<Held>> {
    let row = tx
        .query_opt(
            &format!(
                "select {HELD} \
             from orchestrator.instances i where i.id = $1 for update"
            ),
            &[&id],
        )
        .await?;
    row.as_ref().map(held).transpose()
}

/// The same for the job that was enqueued to advance it, and has begun.
pub(crate) async fn hold_begun(tx: &impl Queries, id: Uuid) -> Result<Option<Held>> {
    let row = tx
        .query_opt(
            &format!("update orchestrator.instances i set is_queued = false where i.id = $1 returning {HELD}"),
            &[&id],
        )
        .await?;
    row.as_ref().map(held).transpose()
}

/// Where an instance stands, to be looked at by a call of it.
pub(crate) async fn standing(db: &impl Queries, id: Uuid, need: i64) -> Result<Option<Held>> {
    let row = db
        .query_opt(
            &format!(
                "select {HELD} \
             from orchestrator.instances i join orchestrator.needs n on n.instance_id = i.id \
             where i.id = $1 and n.need = $2 and i.ended_at is null"
            ),
            &[&id, &need],
        )
        .await?;
    row.as_ref().map(held).transpose()
}

/// What an advance leaves.
#[derive(Debug)]
pub(crate) struct Left<'a> {
    pub epoch: i64,
    /// None of one that has completed: nothing goes on from there.
    pub state: Option<Vec<u8>>,
    pub status: &'a str,
    pub output: Option<Value>,
    pub error: Option<Value>,
    pub records: i64,
}

/// Writes where an instance stands after an advance.
///
/// # Errors
///
/// `WORKFLOW_FENCED` when somebody else has advanced it since it was read: nothing of this advance is kept then.
pub(crate) async fn leave(tx: &impl Queries, id: Uuid, left: Left<'_>) -> Result<()> {
    let changed = tx
        .execute(
            "update orchestrator.instances i set state = $3, status = $4, output = $5, error = $6, records = $7, \
                 epoch = i.epoch + 1, updated_at = clock_timestamp(), \
                 ended_at = case when $4 in ('running', 'waiting') then null else clock_timestamp() end \
             where i.id = $1 and i.epoch = $2",
            &[
                &id,
                &left.epoch,
                &left.state,
                &left.status,
                &left.output,
                &left.error,
                &left.records,
            ],
        )
        .await?;
    if changed == 1 {
        return Ok(());
    }
    Err(Error::conflict(
        "WORKFLOW_FENCED",
        "somebody else has advanced the instance",
    ))
}

/// Lets a job advance it, unless one is enqueued already. The instance is held.
pub(crate) async fn queue(tx: &impl Queries, id: Uuid) -> Result<()> {
    tx.execute(
        "with i as (update orchestrator.instances i set is_queued = true, updated_at = clock_timestamp() \
             where i.id = $1 and not i.is_queued and i.ended_at is null returning i.id, i.family_id) \
         select jobs.enqueue('orchestrator.advance', jsonb_build_object('instance', i.id), jsonb_build_object('family_id', i.family_id)) from i",
        &[&id],
    )
    .await?;
    Ok(())
}

/// Suspends it, or lets it go on.
pub(crate) async fn suspend(tx: &impl Queries, id: Uuid, suspended: bool) -> Result<()> {
    tx.execute(
        "update orchestrator.instances i set updated_at = clock_timestamp(), \
             suspended_at = case when $2 then coalesce(i.suspended_at, clock_timestamp()) end where i.id = $1",
        &[&id, &suspended],
    )
    .await?;
    Ok(())
}

/// Lets the next advance end it. One that is suspended ends all the same.
pub(crate) async fn cancel(tx: &impl Queries, id: Uuid) -> Result<()> {
    tx.execute(
        "update orchestrator.instances i set is_cancelling = true, suspended_at = null where i.id = $1",
        &[&id],
    )
    .await?;
    Ok(())
}

/// Takes an instance back that has faulted.
pub(crate) async fn revive(tx: &impl Queries, id: Uuid, epoch: i64, state: &[u8]) -> Result<()> {
    tx.execute(
        "update orchestrator.instances i set state = $3, status = 'running', ended_at = null, error = null, epoch = i.epoch + 1 \
         where i.id = $1 and i.epoch = $2",
        &[&id, &epoch, &state],
    )
    .await?;
    Ok(())
}

/// Deletes instances that ended long ago, some hundred at a time; how many.
pub(crate) async fn prune(db: &impl Queries, days: i32) -> Result<u64> {
    db.execute(
        "delete from orchestrator.instances i where i.id = any (array( \
             select o.id from orchestrator.instances o where o.ended_at < clock_timestamp() - make_interval(days => $1::integer) \
             order by o.ended_at limit 500))",
        &[&days],
    )
    .await
}

/// Deletes those of a family; how many.
pub(crate) async fn forget(tx: &impl Queries, family: Uuid) -> Result<u64> {
    tx.execute(
        "delete from orchestrator.instances i where i.family_id = $1",
        &[&family],
    )
    .await
}

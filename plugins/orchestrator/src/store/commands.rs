//! Commands of devices.

use nself_plugin_api::{Schema, jiff::Timestamp, prelude::*, serde_json::Value, uuid::Uuid};
use serde::Serialize;

/// What hosts listen to: the device that the payload names has a new command.
pub(crate) const CHANNEL: &str = "nself_orchestrator_commands";

/// A command as those see it who may look at it. What the machine is to do with it is in the signed text alone.
#[derive(Debug, Clone, Serialize, Schema)]
pub(crate) struct Command {
    /// Which one.
    pub id: Uuid,
    /// The family of the machine.
    pub family_id: Uuid,
    /// The machine.
    pub device_id: Uuid,
    /// What it is to do.
    pub name: String,
    /// `pending`, `delivered`, `done`, `failed`, `expired` or `cancelled`.
    pub status: String,
    /// Who asked for it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// From when on it does not hold any more.
    pub expires_at: Timestamp,
    /// How often it was handed out.
    pub deliveries: i32,
    /// When it was handed out last.
    pub delivered_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What the machine says came of it.
    pub result: Option<Value>,
    /// Why it failed.
    pub error: Option<String>,
}

/// The columns of a [`Command`], in a statement that calls the table `c`. What has expired is that, whether somebody has looked
/// at it or not.
macro_rules! columns {
    () => {
        "c.id, c.family_id, c.device_id, c.name, \
         case when c.ended_at is null and c.expires_at <= clock_timestamp() then 'expired' else c.status end as status, \
         c.created_by, c.created_at, c.expires_at, c.deliveries, c.delivered_at, c.ended_at, c.result, c.error"
    };
}

fn command(row: &Row) -> Result<Command> {
    Ok(Command {
        id: row.get("id")?,
        family_id: row.get("family_id")?,
        device_id: row.get("device_id")?,
        name: row.get("name")?,
        status: row.get("status")?,
        created_by: row.get("created_by")?,
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
        deliveries: row.get("deliveries")?,
        delivered_at: row.get("delivered_at")?,
        ended_at: row.get("ended_at")?,
        result: row.get("result")?,
        error: row.get("error")?,
    })
}

/// The family of a machine that is paired, held so that it is let out after this transaction or not at all.
pub(crate) async fn family_of(
    tx: &impl Queries,
    device: Uuid,
    family: Option<Uuid>,
) -> Result<Option<Uuid>> {
    let row = tx
        .query_opt(
            "select d.family_id from public.devices d \
             where d.id = $1 and d.revoked_at is null and ($2::uuid is null or d.family_id = $2)",
            &[&device, &family],
        )
        .await?;
    row.map(|row| row.get("family_id")).transpose()
}

/// Waits for its turn: commands of one device are made one after the other, so that their number is exact.
pub(crate) async fn one_at_a_time(tx: &impl Queries, device: Uuid) -> Result<()> {
    tx.execute(
        "select pg_advisory_xact_lock(hashtextextended('orchestrator.device ' || $1::uuid::text, 0))",
        &[&device],
    )
    .await?;
    Ok(())
}

/// The command of that key, and whether it was asked for in these words.
pub(crate) async fn by_key(
    tx: &impl Queries,
    device: Uuid,
    key: &str,
    request: &str,
) -> Result<Option<(Command, bool)>> {
    let row = tx
        .query_opt(
            concat!(
                "select ",
                columns!(),
                ", c.request_hash = encode(sha256(convert_to($3::text, 'UTF8')), 'hex') as is_same \
                 from orchestrator.device_commands c where c.device_id = $1 and c.key = $2"
            ),
            &[&device, &key, &request],
        )
        .await?;
    row.map(|row| Ok((command(&row)?, row.get("is_same")?)))
        .transpose()
}

/// How many commands of a device have not ended.
pub(crate) async fn open(tx: &impl Queries, device: Uuid) -> Result<i64> {
    tx.query_one(
        "select count(*) from orchestrator.device_commands c \
         where c.device_id = $1 and c.ended_at is null and c.expires_at > clock_timestamp()",
        &[&device],
    )
    .await?
    .get(0)
}

/// A command that is to be kept.
#[derive(Debug)]
pub(crate) struct New<'a> {
    pub id: Uuid,
    pub family: Uuid,
    pub device: Uuid,
    pub name: &'a str,
    pub signed: &'a str,
    pub key: Option<&'a str>,
    pub request: &'a str,
    pub created_by: &'a str,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// Keeps a command, and tells the hosts that its machine may be waiting at.
pub(crate) async fn add(tx: &impl Queries, new: &New<'_>) -> Result<Command> {
    let row = tx
        .query_one(
            concat!(
                "with c as (insert into orchestrator.device_commands (id, family_id, device_id, name, signed, key, request_hash, \
                     created_by, created_at, expires_at) values ($1, $2, $3, $4, $5, $6, \
                     encode(sha256(convert_to($7::text, 'UTF8')), 'hex'), $8, $9, $10) returning *), \
                 told as (select pg_notify($11, $3::uuid::text)) \
                 select ",
                columns!(),
                " from c, told"
            ),
            &[
                &new.id,
                &new.family,
                &new.device,
                &new.name,
                &new.signed,
                &new.key,
                &new.request,
                &new.created_by,
                &new.created_at,
                &new.expires_at,
                &CHANNEL,
            ],
        )
        .await?;
    command(&row)
}

/// What a command is signed with: the database's clock, in whole seconds, and an id.
pub(crate) async fn moment(db: &impl Queries) -> Result<(Uuid, Timestamp)> {
    let row = db
        .query_one(
            "select nself.uuid_v7() as id, date_trunc('second', clock_timestamp()) as now",
            &[],
        )
        .await?;
    Ok((row.get("id")?, row.get("now")?))
}

/// The signed texts that a machine is to get now, the oldest first. They are handed out once more at `redelivery_seconds`.
pub(crate) async fn deliver(
    tx: &impl Queries,
    device: Uuid,
    redelivery_seconds: i32,
    limit: i64,
) -> Result<Vec<(Uuid, String)>> {
    tx.query(
        "with due as ( \
             select c.id from orchestrator.device_commands c \
             where c.device_id = $1 and c.ended_at is null and c.due_at <= clock_timestamp() and c.expires_at > clock_timestamp() \
             order by c.id limit $3 for update skip locked \
         ), given as ( \
             update orchestrator.device_commands c set status = 'delivered', deliveries = c.deliveries + 1, \
                 delivered_at = clock_timestamp(), due_at = clock_timestamp() + make_interval(secs => $2::integer) \
             from due where c.id = due.id returning c.id, c.signed \
         ) \
         select g.id, g.signed from given g order by g.id",
        &[&device, &redelivery_seconds, &limit],
    )
    .await?
    .map(|row| Ok((row.get("id")?, row.get("signed")?)))
}

/// Seconds until something of a machine's is handed out once more; none when nothing is.
pub(crate) async fn due_in(db: &impl Queries, device: Uuid) -> Result<Option<f64>> {
    db.query_one(
        "select extract(epoch from min(c.due_at) - clock_timestamp())::double precision as due from orchestrator.device_commands c \
         where c.device_id = $1 and c.ended_at is null and c.expires_at > clock_timestamp()",
        &[&device],
    )
    .await?
    .get("due")
}

/// A command, held until the transaction ends.
pub(crate) async fn hold(
    tx: &impl Queries,
    id: Uuid,
    family: Option<Uuid>,
    device: Option<Uuid>,
) -> Result<Option<Command>> {
    let row = tx
        .query_opt(
            concat!(
                "select ",
                columns!(),
                " from orchestrator.device_commands c \
                 where c.id = $1 and ($2::uuid is null or c.family_id = $2) and ($3::uuid is null or c.device_id = $3) for update"
            ),
            &[&id, &family, &device],
        )
        .await?;
    row.as_ref().map(command).transpose()
}

/// Ends a command.
pub(crate) async fn end(
    tx: &impl Queries,
    id: Uuid,
    status: &str,
    result: Option<&Value>,
    error: Option<&str>,
) -> Result<Command> {
    let row = tx
        .query_one(
            concat!(
                "with c as (update orchestrator.device_commands c set status = $2, ended_at = clock_timestamp(), result = $3, error = $4 \
                     where c.id = $1 returning c.*) \
                 select ",
                columns!(),
                " from c"
            ),
            &[&id, &status, &result.cloned(), &error],
        )
        .await?;
    command(&row)
}

/// Ends what nobody has said anything of: expired, or handed out too often. Some at a time.
pub(crate) async fn end_unheard(
    tx: &impl Queries,
    deliveries_max: i32,
    too_often: &str,
    limit: i64,
) -> Result<Vec<Command>> {
    tx.query(
        concat!(
            "with late as ( \
                 select l.id, l.expires_at <= clock_timestamp() as is_expired from orchestrator.device_commands l \
                 where l.ended_at is null and (l.expires_at <= clock_timestamp() \
                     or (l.deliveries >= $1 and l.due_at <= clock_timestamp())) \
                 limit $2 for update skip locked \
             ), c as ( \
                 update orchestrator.device_commands c set ended_at = clock_timestamp(), \
                     status = case when l.is_expired then 'expired' else 'failed' end, \
                     error = case when l.is_expired then 'the device said nothing of it in time' else $3 end \
                 from late l where l.id = c.id returning c.* \
             ) \
             select ",
            columns!(),
            " from c"
        ),
        &[&deliveries_max, &limit, &too_often],
    )
    .await?
    .map(command)
}

/// A page of commands, the newest first.
pub(crate) async fn list(
    db: &impl Queries,
    family: Option<Uuid>,
    device: Option<Uuid>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Command>> {
    db.query(
        concat!(
            "select ",
            columns!(),
            " from orchestrator.device_commands c \
             where ($1::uuid is null or c.family_id = $1) and ($2::uuid is null or c.device_id = $2) and ($3::uuid is null or c.id < $3) \
             order by c.id desc limit $4"
        ),
        &[&family, &device, &before, &limit],
    )
    .await?
    .map(command)
}

/// A command.
pub(crate) async fn find(
    db: &impl Queries,
    id: Uuid,
    family: Option<Uuid>,
) -> Result<Option<Command>> {
    let row = db
        .query_opt(
            concat!(
                "select ",
                columns!(),
                " from orchestrator.device_commands c where c.id = $1 and ($2::uuid is null or c.family_id = $2)"
            ),
            &[&id, &family],
        )
        .await?;
    row.as_ref().map(command).transpose()
}

/// Deletes what ended long ago, some thousand at a time; how many.
pub(crate) async fn prune(db: &impl Queries, days: i32) -> Result<u64> {
    db.execute(
        "delete from orchestrator.device_commands c where c.id = any (array( \
             select o.id from orchestrator.device_commands o where o.ended_at < clock_timestamp() - make_interval(days => $1::integer) \
             order by o.ended_at limit 2000))",
        &[&days],
    )
    .await
}

/// Deletes those of a family; how many.
pub(crate) async fn forget(tx: &impl Queries, family: Uuid) -> Result<u64> {
    tx.execute(
        "delete from orchestrator.device_commands c where c.family_id = $1",
        &[&family],
    )
    .await
}

/// Binds a command to the instance that waits for its end.
pub(crate) async fn bind(tx: &impl Queries, id: Uuid, instance: Uuid, need: i64) -> Result<()> {
    tx.execute(
        "update orchestrator.device_commands c set instance_id = $2, need = $3 where c.id = $1",
        &[&id, &instance, &need],
    )
    .await?;
    Ok(())
}

/// The instance and need that a command which has ended is for.
pub(crate) async fn bound(db: &impl Queries, id: Uuid) -> Result<Option<(Uuid, i64, Command)>> {
    let row = db
        .query_opt(
            concat!(
                "select ",
                columns!(),
                ", c.instance_id, c.need from orchestrator.device_commands c \
                 where c.id = $1 and c.ended_at is not null and c.instance_id is not null"
            ),
            &[&id],
        )
        .await?;
    row.map(|row| Ok((row.get("instance_id")?, row.get("need")?, command(&row)?)))
        .transpose()
}

/// Lets the instance of a command know that it has ended, if there is one.
pub(crate) async fn tell_instance(tx: &impl Queries, id: Uuid) -> Result<()> {
    tx.execute(
        "select jobs.enqueue('orchestrator.command', jsonb_build_object('command', c.id), jsonb_build_object('family_id', c.family_id)) \
         from orchestrator.device_commands c where c.id = $1 and c.instance_id is not null",
        &[&id],
    )
    .await?;
    Ok(())
}

/// Takes back the commands that an instance waits for no more: those of these needs, or all.
pub(crate) async fn let_go(
    tx: &impl Queries,
    instance: Uuid,
    needs: Option<&[i64]>,
) -> Result<Vec<Command>> {
    let needs = needs.map(<[i64]>::to_vec).unwrap_or_default();
    let all = needs.is_empty();
    tx.query(
        concat!(
            "with c as (update orchestrator.device_commands c set status = 'cancelled', ended_at = clock_timestamp(), instance_id = null \
                 where c.instance_id = $1 and c.ended_at is null and ($2::boolean or c.need = any ($3)) returning c.*) \
             select ",
            columns!(),
            " from c"
        ),
        &[&instance, &all, &needs],
    )
    .await?
    .map(command)
}

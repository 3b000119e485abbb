//! Definitions of workflows.

use nself_plugin_api::{Schema, jiff::Timestamp, prelude::*, serde_json::Value, uuid::Uuid};
use serde::Serialize;

/// A definition as it is kept.
#[derive(Debug, Clone, Serialize, Schema)]
pub(crate) struct Stored {
    /// Which one.
    pub id: Uuid,
    /// Where it belongs.
    pub namespace: String,
    /// Its name there.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `yaml` or `json`.
    pub format: String,
    /// Its text.
    pub source: String,
    /// Who keeps it: `api`, `file`, or the plugin that registered it, such as `plugin:shop`.
    pub owner: String,
    /// Whether the grown-ups of a family may start it.
    pub for_families: bool,
    /// When it starts by itself, if it does.
    pub schedule: Option<Value>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
}

const COLUMNS: &str = "d.id, d.namespace, d.name, d.version, d.format, d.source, d.owner, d.for_families, d.schedule, d.created_by, d.created_at";

fn stored(row: &Row) -> Result<Stored> {
    Ok(Stored {
        id: row.get("id")?,
        namespace: row.get("namespace")?,
        name: row.get("name")?,
        version: row.get("version")?,
        format: row.get("format")?,
        source: row.get("source")?,
        owner: row.get("owner")?,
        for_families: row.get("for_families")?,
        schedule: row.get("schedule")?,
        created_by: row.get("created_by")?,
        created_at: row.get("created_at")?,
    })
}

/// A definition that is to be kept.
#[derive(Debug)]
pub(crate) struct New<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub version: &'a str,
    pub format: &'a str,
    pub source: &'a str,
    pub owner: &'a str,
    pub for_families: bool,
    pub schedule: Option<Value>,
    pub zone: Option<&'a str>,
    /// Types of events that its runs may listen for; none when that may be any.
    pub hears: Option<&'a [String]>,
    pub created_by: &'a str,
}

/// Keeps a definition. Whether it is new, or none when another text stands under its version.
pub(crate) async fn put(tx: &impl Queries, new: &New<'_>) -> Result<Option<bool>> {
    let hears = new.hears.map(Value::from);
    let made = tx
        .execute(
            "insert into orchestrator.definitions (namespace, name, version, format, source, owner, for_families, created_by, schedule, zone, hears) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, case when $11::jsonb is not null then array(select jsonb_array_elements_text($11::jsonb)) end) \
             on conflict do nothing",
            &[
                &new.namespace,
                &new.name,
                &new.version,
                &new.format,
                &new.source,
                &new.owner,
                &new.for_families,
                &new.created_by,
                &new.schedule,
                &new.zone,
                &hears,
            ],
        )
        .await?;
    if made == 1 {
        return Ok(Some(true));
    }
    let row = tx
        .query_opt(
            "update orchestrator.definitions d set removed_at = null \
             from (select o.id, o.removed_at from orchestrator.definitions o \
                   where o.namespace = $1 and o.name = $2 and o.version = $3 and o.source = $4 for update) as o \
             where d.id = o.id returning o.removed_at is not null as is_new",
            &[&new.namespace, &new.name, &new.version, &new.source],
        )
        .await?;
    row.map(|row| row.get("is_new")).transpose()
}

/// A definition by its version.
pub(crate) async fn find(
    db: &impl Queries,
    namespace: &str,
    name: &str,
    version: &str,
) -> Result<Option<Stored>> {
    let sql = format!(
        "select {COLUMNS} from orchestrator.definitions d \
         where d.namespace = $1 and d.name = $2 and d.version = $3 and d.removed_at is null"
    );
    let row = db.query_opt(&sql, &[&namespace, &name, &version]).await?;
    row.as_ref().map(stored).transpose()
}

/// The versions of a workflow.
pub(crate) async fn versions(
    db: &impl Queries,
    namespace: &str,
    name: &str,
) -> Result<Vec<String>> {
    db.query(
        "select d.version from orchestrator.definitions d where d.namespace = $1 and d.name = $2 and d.removed_at is null",
        &[&namespace, &name],
    )
    .await?
    .map(|row| row.get("version"))
}

/// The text of a definition, removed or not.
pub(crate) async fn source(db: &impl Queries, id: Uuid) -> Result<Option<(String, String)>> {
    let row = db
        .query_opt(
            "select d.format, d.source from orchestrator.definitions d where d.id = $1",
            &[&id],
        )
        .await?;
    row.map(|row| Ok((row.get("format")?, row.get("source")?)))
        .transpose()
}

/// The text of the definition that a run is of.
pub(crate) async fn source_of_run(db: &impl Queries, id: Uuid) -> Result<Option<(String, String)>> {
    let row = db
        .query_opt(
            "select d.format, d.source from orchestrator.instances i \
             join orchestrator.definitions d on d.id = i.definition_id where i.id = $1",
            &[&id],
        )
        .await?;
    row.map(|row| Ok((row.get("format")?, row.get("source")?)))
        .transpose()
}

/// A page of definitions.
pub(crate) async fn list(
    db: &impl Queries,
    namespace: Option<&str>,
    only_for_families: bool,
    after: (&str, &str, &str),
    limit: i64,
) -> Result<Vec<Stored>> {
    let sql = format!(
        "select {COLUMNS} from orchestrator.definitions d \
         where d.removed_at is null and ($1::text is null or d.namespace = $1) and (d.for_families or not $2::boolean) \
           and (d.namespace, d.name, d.version) > ($3, $4, $5) \
         order by d.namespace, d.name, d.version limit $6"
    );
    db.query(
        &sql,
        &[
            &namespace,
            &only_for_families,
            &after.0,
            &after.1,
            &after.2,
            &limit,
        ],
    )
    .await?
    .map(stored)
}

/// Removes a definition; whether there was one. It stays for what runs on it.
pub(crate) async fn remove(
    tx: &impl Queries,
    namespace: &str,
    name: &str,
    version: &str,
) -> Result<bool> {
    let removed = tx
        .execute(
            "update orchestrator.definitions d set removed_at = clock_timestamp() \
             where d.namespace = $1 and d.name = $2 and d.version = $3 and d.removed_at is null",
            &[&namespace, &name, &version],
        )
        .await?;
    Ok(removed == 1)
}

/// Deletes removed definitions that nothing has run on for long, and nothing runs on; how many. One that is brought back meanwhile
/// stays.
pub(crate) async fn prune(db: &impl Queries, days: i32) -> Result<u64> {
    db.execute(
        "delete from orchestrator.definitions d where d.id = any (array( \
             select o.id from orchestrator.definitions o where o.removed_at < clock_timestamp() - make_interval(days => $1::integer) \
               and not exists (select from orchestrator.instances i \
                   where i.namespace = o.namespace and i.name = o.name and i.definition_id = o.id) \
             limit 500)) \
           and d.removed_at < clock_timestamp() - make_interval(days => $1::integer)",
        &[&days],
    )
    .await
}

//! Back to an empty database, without dropping the database itself: that would need another one to connect to, and a
//! login that may create databases.

use std::time::Duration;

use postgres_protocol::escape::escape_identifier;
use tokio::time::Instant;
use tokio_postgres::{Client, Transaction};

use super::error::MigrateError;
use super::ledger::LOCK_KEY;

/// How long to wait for whoever still uses a table. 5 s.
const LOCK_TIMEOUT_MS: u32 = 5_000;

/// Pause between two looks at the sessions of a plugin.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Drops the schemas of the host, of everything that was ever migrated here, and `public`, which is made again.
/// All or nothing; returns what was dropped. What others keep in schemas of their own stays.
///
/// # Errors
///
/// When a host still uses the database, or the login does not own a schema; nothing has been dropped then.
pub async fn wipe(client: &mut Client) -> Result<Vec<String>, MigrateError> {
    let database = || MigrateError::database("empty the database");
    let transaction = client.transaction().await.map_err(database())?;
    transaction
        .batch_execute(&format!("SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"))
        .await
        .map_err(database())?;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK_KEY])
        .await
        .map_err(database())?;
    check_unused(&transaction).await?;
    let schemas = schemas(&transaction).await.map_err(database())?;
    let quoted: Vec<String> = schemas
        .iter()
        .map(|schema| escape_identifier(schema))
        .collect();
    transaction
        .batch_execute(&format!(
            "DROP SCHEMA {} CASCADE; CREATE SCHEMA public AUTHORIZATION pg_database_owner; \
             GRANT USAGE ON SCHEMA public TO PUBLIC",
            quoted.join(", ")
        ))
        .await
        .map_err(database())?;
    transaction.commit().await.map_err(database())?;
    Ok(schemas)
}

/// What else refers to tables of a schema: foreign keys and views, by the name of their table or view.
const REFERRERS: &str = "\
    SELECT DISTINCT referrer.oid::regclass::text FROM ( \
        SELECT conrelid AS oid, confrelid AS target FROM pg_constraint WHERE contype = 'f' \
        UNION ALL \
        SELECT rule.ev_class, dependency.refobjid FROM pg_depend dependency \
        JOIN pg_rewrite rule ON dependency.classid = 'pg_rewrite'::regclass AND dependency.objid = rule.oid \
        WHERE dependency.refclassid = 'pg_class'::regclass \
    ) AS reference \
    JOIN pg_class referrer ON referrer.oid = reference.oid \
    JOIN pg_class target ON target.oid = reference.target \
    JOIN pg_namespace schema ON schema.oid = target.relnamespace \
    WHERE schema.nspname = $1 AND referrer.relnamespace <> target.relnamespace ORDER BY 1";

/// Drops a plugin's schema with everything in it, its small values, and the record of its steps: the next start makes it
/// anew. Nothing of anybody else goes with it.
///
/// # Errors
///
/// When the plugin runs on another host, or something outside of the schema refers to it; roll back then.
pub async fn wipe_plugin(transaction: &Transaction<'_>, plugin: &str) -> Result<(), MigrateError> {
    let database = || MigrateError::database(format!("drop the schema {plugin}"));
    transaction
        .batch_execute(&format!("SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"))
        .await
        .map_err(database())?;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK_KEY])
        .await
        .map_err(database())?;
    check_ended(transaction, plugin).await?;
    let referrers = transaction
        .query(REFERRERS, &[&plugin])
        .await
        .map_err(database())?;
    let referrers: Vec<String> = referrers.iter().map(|row| row.get(0)).collect();
    if !referrers.is_empty() {
        return Err(MigrateError::Target(format!(
            "{} refer to tables of {plugin}: drop them, or what in them refers to it, first",
            referrers.join(", ")
        )));
    }
    transaction
        .batch_execute(&format!(
            "DROP SCHEMA IF EXISTS {} CASCADE",
            escape_identifier(plugin)
        ))
        .await
        .map_err(database())?;
    for table in [
        "DELETE FROM nself.migrations WHERE owner = $1",
        "DELETE FROM nself.kv WHERE plugin = $1",
    ] {
        transaction
            .execute(table, &[&plugin])
            .await
            .map_err(database())?;
    }
    Ok(())
}

/// Sessions of a plugin that was just disabled may need a moment to end; those of another host stay.
async fn check_ended(transaction: &Transaction<'_>, plugin: &str) -> Result<(), MigrateError> {
    let name = format!("nself plugin {plugin}");
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1 LIMIT 1";
    let limit = Instant::now() + Duration::from_millis(LOCK_TIMEOUT_MS.into());
    loop {
        // Else every look in one transaction would see what the first one saw.
        let fresh = transaction
            .batch_execute("SELECT pg_stat_clear_snapshot()")
            .await;
        fresh.map_err(MigrateError::database("see who uses the database"))?;
        let session = transaction
            .query_opt(sql, &[&name])
            .await
            .map_err(MigrateError::database("see who uses the database"))?;
        let Some(session) = session else {
            return Ok(());
        };
        if Instant::now() > limit {
            return Err(MigrateError::Target(format!(
                "{plugin} runs on another host of this database (session {}): disable it there first",
                session.get::<_, i32>(0)
            )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A host on another machine may use the same database: its logins are seen here.
async fn check_unused(transaction: &Transaction<'_>) -> Result<(), MigrateError> {
    let row = transaction
        .query_opt(
            "SELECT pid, application_name::text FROM pg_stat_activity WHERE datname = current_database() \
             AND (application_name = 'nself leases' OR application_name LIKE 'nself plugin %') LIMIT 1",
            &[],
        )
        .await
        .map_err(MigrateError::database("see who uses the database"))?;
    match row {
        None => Ok(()),
        Some(row) => Err(MigrateError::Target(format!(
            "a host uses this database (session {}, {}): stop it first",
            row.get::<_, i32>(0),
            row.get::<_, String>(1)
        ))),
    }
}

async fn schemas(transaction: &Transaction<'_>) -> Result<Vec<String>, tokio_postgres::Error> {
    let has_ledger: bool = transaction
        .query_one("SELECT to_regclass('nself.migrations') IS NOT NULL", &[])
        .await?
        .get(0);
    let owners = if has_ledger {
        "SELECT owner::text FROM nself.migrations UNION "
    } else {
        ""
    };
    let sql = format!(
        "SELECT nspname::text FROM pg_namespace WHERE nspname IN ({owners}VALUES ('nself'), ('public')) ORDER BY 1"
    );
    let rows = transaction.query(&sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

//! Back to an empty database, without dropping the database itself: that would need another one to connect to, and a
//! login that may create databases.

use postgres_protocol::escape::escape_identifier;
use tokio_postgres::{Client, Transaction};

use super::error::MigrateError;
use super::ledger::LOCK_KEY;

/// How long to wait for whoever still uses a table. 5 s.
const LOCK_TIMEOUT_MS: u32 = 5_000;

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
    let drops: String = schemas
        .iter()
        .map(|schema| format!("DROP SCHEMA {} CASCADE; ", escape_identifier(schema)))
        .collect();
    transaction
        .batch_execute(&format!(
            "{drops}CREATE SCHEMA public AUTHORIZATION pg_database_owner; GRANT USAGE ON SCHEMA public TO PUBLIC"
        ))
        .await
        .map_err(database())?;
    transaction.commit().await.map_err(database())?;
    Ok(schemas)
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

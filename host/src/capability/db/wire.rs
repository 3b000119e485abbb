//! Parameters and rows as raw bytes through the driver.

use std::error::Error as StdError;

use bytes::BytesMut;
use deadpool_postgres::ClientWrapper;
use futures_util::future::join3;
use nself_plugin_api::abi::{
    bytes::Bytes,
    capability::db::{RowSource, Rows, params},
    error::Error,
};
use postgres_types::{FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};
use tokio_postgres::{Row, Statement, error::SqlState};

use super::failure;

/// A parameter that the plugin has encoded.
#[derive(Debug)]
struct Raw<'a>(Option<&'a [u8]>);

impl ToSql for Raw<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        Ok(match self.0 {
            Some(bytes) => {
                out.extend_from_slice(bytes);
                IsNull::No
            }
            None => IsNull::Yes,
        })
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A cell that the plugin will read.
struct Cell<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Cell<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// The driver's rows, kept whole while the plugin reads them in place.
struct Kept {
    rows: Vec<Row>,
    statement: Statement,
}

impl RowSource for Kept {
    fn row_count(&self) -> usize {
        self.rows.len()
    }

    fn column_count(&self) -> usize {
        self.statement.columns().len()
    }

    fn column(&self, column: usize) -> (&str, u32) {
        let column = &self.statement.columns()[column];
        (column.name(), column.type_().oid())
    }

    fn cell(&self, row: usize, column: usize) -> Option<&[u8]> {
        let cell: Option<Cell<'_>> = self.rows[row].try_get(column).ok()?;
        cell.map(|cell| cell.0)
    }
}

async fn prepare(
    client: &ClientWrapper,
    sql: &str,
    buffer: &[u8],
) -> Result<Statement, tokio_postgres::Error> {
    let types: Vec<Type> = params(buffer)
        .map(|(oid, _)| {
            Type::from_oid(oid)
                .unwrap_or_else(|| Type::new(String::new(), oid, Kind::Simple, String::new()))
        })
        .collect();
    client.prepare_typed_cached(sql, &types).await
}

/// A column changed its type since the statement was prepared on this connection.
fn is_stale(failure: &tokio_postgres::Error) -> bool {
    failure.as_db_error().is_some_and(|db| {
        *db.code() == SqlState::FEATURE_NOT_SUPPORTED
            && db.message().starts_with("cached plan must not change")
    })
}

/// A statement of its own in somebody's name: a transaction whose three parts are sent at once, so that it costs one round trip,
/// and ends whether or not anybody still waits for it. `$result` is the statement's future; its own failure is told before
/// that of the end, which only follows from it.
macro_rules! named {
    ($client:ident, $tenant:ident, $result:expr) => {{
        let begin = format!("begin{}", $tenant);
        // Polled in this order, and each is sent with its first poll.
        let (begun, result, ended) = join3(
            $client.batch_execute(&begin),
            $result,
            $client.batch_execute("commit"),
        )
        .await;
        begun.and(result).and_then(|result| ended.map(|()| result))
    }};
}

macro_rules! run {
    ($client:ident, $sql:ident, $buffer:ident, $tenant:ident, $method:ident) => {{
        let raw: Vec<Raw<'_>> = params($buffer.as_slice())
            .map(|(_, value)| Raw(value))
            .collect();
        let raw: Vec<&(dyn ToSql + Sync)> = raw.iter().map(|raw| raw as _).collect();
        let mut statement = prepare($client, $sql, $buffer.as_slice())
            .await
            .map_err(|error| failure::statement(&error))?;
        let run = async |statement: &Statement| {
            if $tenant.is_empty() {
                $client.$method(statement, &raw).await
            } else {
                named!($client, $tenant, $client.$method(statement, &raw))
            }
        };
        let mut result = run(&statement).await;
        // A column changed its type since: nothing was done, so it can be done again.
        if result.as_ref().is_err_and(is_stale) {
            $client.statement_cache.clear();
            statement = prepare($client, $sql, $buffer.as_slice())
                .await
                .map_err(|error| failure::statement(&error))?;
            result = run(&statement).await;
        }
        (
            result.map_err(|error| failure::statement(&error))?,
            statement,
        )
    }};
}

/// Runs a statement of its own, in the name that `tenant` says; its rows.
pub(super) async fn query_as(
    client: &ClientWrapper,
    sql: &str,
    buffer: &Bytes,
    tenant: &str,
) -> Result<Rows, Error> {
    let (rows, statement) = run!(client, sql, buffer, tenant, query);
    Ok(Rows::new(Kept { rows, statement }))
}

/// Runs a statement of its own, in the name that `tenant` says; how many rows it changed.
pub(super) async fn execute_as(
    client: &ClientWrapper,
    sql: &str,
    buffer: &Bytes,
    tenant: &str,
) -> Result<u64, Error> {
    let (changed, _) = run!(client, sql, buffer, tenant, execute);
    Ok(changed)
}

macro_rules! run_within {
    ($client:ident, $sql:ident, $buffer:ident, $method:ident) => {{
        let raw: Vec<Raw<'_>> = params($buffer.as_slice())
            .map(|(_, value)| Raw(value))
            .collect();
        let raw: Vec<&(dyn ToSql + Sync)> = raw.iter().map(|raw| raw as _).collect();
        let statement = prepare($client, $sql, $buffer.as_slice())
            .await
            .map_err(|error| failure::statement(&error))?;
        let result = $client.$method(&statement, &raw).await;
        (
            result.map_err(|error| failure::statement(&error))?,
            statement,
        )
    }};
}

/// Runs a statement of a session; its rows. A plan that went stale is not made anew: the failure has ended the transaction.
pub(super) async fn query(
    client: &ClientWrapper,
    sql: &str,
    buffer: &Bytes,
) -> Result<Rows, Error> {
    let (rows, statement) = run_within!(client, sql, buffer, query);
    Ok(Rows::new(Kept { rows, statement }))
}

/// Runs a statement of a session; how many rows it changed.
pub(super) async fn execute(
    client: &ClientWrapper,
    sql: &str,
    buffer: &Bytes,
) -> Result<u64, Error> {
    let (changed, _) = run_within!(client, sql, buffer, execute);
    Ok(changed)
}

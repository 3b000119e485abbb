//! SQL functions that come with a plugin's capabilities: who is granted the capability may call them, and nobody else.
//!
//! Postgres lets everybody call a new function; only the schema keeps others out. A schema that is opened for one
//! function must not open the others with it, so in a plugin's schema no function is everybody's.

use std::collections::BTreeSet;

use postgres_protocol::escape::escape_identifier;
use tokio_postgres::{Client, GenericClient, Transaction, error::SqlState};

use super::RoleError;

/// What a statement calls the function `p` of the schema `n`.
macro_rules! called {
    () => {
        "format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))"
    };
}

/// A function that is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Function {
    /// Its schema.
    pub(super) schema: String,
    /// What a statement calls it, with its arguments, quoted.
    called: String,
}

/// Checks that the functions which a plugin offers are there, and that their callers cannot lead them astray.
///
/// # Errors
///
/// [`RoleError::NoProvided`] or [`RoleError::SearchPath`] names the function.
pub async fn check_provided(client: &Client, signatures: &[&str]) -> Result<(), RoleError> {
    for signature in signatures {
        find(client, signature).await?;
    }
    Ok(())
}

/// The functions with these signatures outside of the plugin's own schema, where it may call everything anyway.
pub(super) async fn find_all(
    transaction: &Transaction<'_>,
    plugin: &str,
    signatures: &[&str],
) -> Result<BTreeSet<Function>, RoleError> {
    let mut functions = BTreeSet::new();
    for signature in signatures {
        functions.insert(find(transaction, signature).await?);
    }
    functions.retain(|function| function.schema != plugin);
    Ok(functions)
}

async fn find(client: &impl GenericClient, signature: &str) -> Result<Function, RoleError> {
    let missing = || RoleError::NoProvided(signature.to_owned());
    let sql = concat!(
        "SELECT n.nspname::text, ",
        called!(),
        ", p.prosecdef AND NOT EXISTS (SELECT FROM unnest(p.proconfig) set WHERE starts_with(set, 'search_path=')) \
         FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = to_regprocedure($1)"
    );
    let quoted = quoted(signature).ok_or_else(missing)?;
    let row = match client.query_opt(sql, &[&quoted]).await {
        Ok(row) => row.ok_or_else(missing)?,
        // Older servers fail over a type that they do not know.
        Err(error) if error.code().is_some_and(is_unknown) => return Err(missing()),
        Err(error) => return Err(error.into()),
    };
    if row.get(2) {
        return Err(RoleError::SearchPath(signature.to_owned()));
    }
    Ok(Function {
        schema: row.get(0),
        called: row.get(1),
    })
}

/// A type, a schema, or the list of types does not read.
fn is_unknown(code: &SqlState) -> bool {
    [
        SqlState::UNDEFINED_OBJECT,
        SqlState::INVALID_SCHEMA_NAME,
        SqlState::SYNTAX_ERROR,
        SqlState::INVALID_TEXT_REPRESENTATION,
    ]
    .contains(code)
}

/// A plugin's id may have a hyphen, which Postgres reads in quotes only.
fn quoted(signature: &str) -> Option<String> {
    let (name, types) = signature.split_once('(')?;
    let (schema, name) = name.split_once('.')?;
    let (schema, name) = (escape_identifier(schema), escape_identifier(name));
    Some(format!("{schema}.{name}({types}"))
}

/// Makes the functions of other plugins that the login may call exactly `wanted`.
pub(super) async fn changes(
    transaction: &Transaction<'_>,
    plugin: &str,
    name: &str,
    wanted: &BTreeSet<Function>,
) -> Result<String, tokio_postgres::Error> {
    let sql = concat!(
        "SELECT n.nspname::text, ",
        called!(),
        " FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, aclexplode(p.proacl) a \
         WHERE a.grantee = (SELECT oid FROM pg_roles WHERE rolname = $2) AND n.nspname NOT IN ('nself', $1)"
    );
    let rows = transaction.query(sql, &[&plugin, &name]).await?;
    let held: BTreeSet<Function> = rows
        .iter()
        .map(|row| Function {
            schema: row.get(0),
            called: row.get(1),
        })
        .collect();
    let login = escape_identifier(name);
    let revokes = held
        .difference(wanted)
        .map(|Function { called, .. }| format!("REVOKE EXECUTE ON ROUTINE {called} FROM {login};"));
    let grants = wanted
        .difference(&held)
        .map(|Function { called, .. }| format!("GRANT EXECUTE ON ROUTINE {called} TO {login};"));
    Ok(revokes.chain(grants).collect())
}

/// What migrations have made since the last time is everybody's until this.
pub(super) async fn close(
    transaction: &Transaction<'_>,
    plugin: &str,
) -> Result<String, tokio_postgres::Error> {
    let sql = concat!(
        "SELECT ",
        called!(),
        " FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname = $1 \
         WHERE p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0)"
    );
    let rows = transaction.query(sql, &[&plugin]).await?;
    let revoke = |row: &tokio_postgres::Row| {
        let called: &str = row.get(0);
        format!("REVOKE EXECUTE ON ROUTINE {called} FROM PUBLIC;")
    };
    Ok(rows.iter().map(revoke).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_quoted_up_to_its_types() {
        let check = |signature, expected: Option<&str>| {
            assert_eq!(quoted(signature).as_deref(), expected, "{signature}");
        };
        check(
            "jobs.enqueue(text,jsonb)",
            Some(r#""jobs"."enqueue"(text,jsonb)"#),
        );
        check("note-book.now()", Some(r#""note-book"."now"()"#));
        check("enqueue(text)", None);
        check("jobs.enqueue", None);
    }
}

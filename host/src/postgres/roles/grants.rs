//! Grants beyond the plugin's own schema: the tables of its manifest, the host's functions, those of other plugins. What
//! a former manifest asked for and this one does not is taken back.

use std::collections::BTreeSet;

use postgres_protocol::escape::escape_identifier;
use tokio_postgres::{Client, Transaction};

use super::{Host, RoleError, begin, check_id, exists, login_name, provided};
use crate::plugin::manifest::TableGrant;

/// Rights that a manifest may ask for.
const RIGHTS: [&str; 5] = ["SELECT", "INSERT", "UPDATE", "DELETE", "REFERENCES"];

/// What a plugin's login may reach outside its schema.
#[derive(Debug, Clone, Copy, Default)]
pub struct Grants<'a> {
    /// `requires.tables` of the manifest, as far as the operator accepted it.
    pub tables: &'a [TableGrant],
    /// Names of functions in the schema `nself` that it may call, all overloads, such as `emit`.
    pub functions: &'a [&'a str],
    /// Functions that come with the capabilities it was granted, such as `jobs.enqueue(text,jsonb)`.
    pub provided: &'a [&'a str],
}

/// A right on a table or schema that a login has, or should have.
type Right = (String, String, String);

/// Makes the login's grants exactly `grants`. Comes after the migrations of the host and of all plugins: the tables and
/// functions must exist. Functions of `nself` and of the plugin's schema stop being everybody's.
///
/// # Errors
///
/// [`RoleError`] names the table, right or function; nothing has been changed then.
pub async fn grant(
    client: &mut Client,
    plugin: &str,
    grants: &Grants<'_>,
) -> Result<(), RoleError> {
    check_id(plugin)?;
    let wanted = wanted_rights(plugin, grants.tables)?;
    let transaction = begin(client).await?;
    let host = Host::read(&transaction).await?;
    let name = login_name(&host.database, plugin);
    if !exists(&transaction, &name).await? {
        return Err(RoleError::NoLogin(name));
    }
    check_tables(&transaction, plugin, &wanted).await?;
    let provided = provided::find_all(&transaction, plugin, grants.provided).await?;
    let login = escape_identifier(&name);
    let mut sql = table_changes(
        &table_rights(&transaction, plugin, &name).await?,
        &wanted,
        &login,
    );
    let tables = wanted.iter().map(|(schema, ..)| schema);
    let schemas = tables.chain(provided.iter().map(|function| &function.schema));
    let schemas = schemas.cloned().collect();
    sql += &schema_changes(&transaction, plugin, &name, schemas).await?;
    sql += &provided::close(&transaction, plugin).await?;
    sql += &provided::changes(&transaction, plugin, &name, &provided).await?;
    sql += &function_changes(&transaction, &name, grants.functions).await?;
    transaction.batch_execute(&sql).await?;
    transaction.commit().await?;
    Ok(())
}

fn wanted_rights(plugin: &str, tables: &[TableGrant]) -> Result<BTreeSet<Right>, RoleError> {
    let mut wanted = BTreeSet::new();
    for TableGrant { table, rights } in tables {
        let (schema, name) = split(table)?;
        for word in rights {
            let right = word.to_ascii_uppercase();
            if !RIGHTS.contains(&right.as_str()) {
                return Err(RoleError::Right {
                    right: word.clone(),
                    table: table.clone(),
                });
            }
            let of_postgres = schema.starts_with("pg_") || schema == "information_schema";
            if of_postgres || (schema == "nself" && right != "SELECT") {
                return Err(RoleError::Forbidden {
                    right: word.clone(),
                    table: table.clone(),
                });
            }
            // In its own schema a plugin has its rights already.
            if schema != plugin {
                wanted.insert((schema.to_owned(), name.to_owned(), right));
            }
        }
    }
    Ok(wanted)
}

fn split(table: &str) -> Result<(&str, &str), RoleError> {
    let is_word = |text: &str| !text.is_empty() && !text.contains(['.', '\0']);
    table
        .split_once('.')
        .filter(|(schema, name)| is_word(schema) && is_word(name))
        .ok_or_else(|| RoleError::TableName(table.to_owned()))
}

async fn check_tables(
    transaction: &Transaction<'_>,
    plugin: &str,
    wanted: &BTreeSet<Right>,
) -> Result<(), RoleError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let tables: BTreeSet<(&str, &str)> = wanted
        .iter()
        .map(|(schema, name, _)| (schema.as_str(), name.as_str()))
        .collect();
    let (schemas, names): (Vec<&str>, Vec<&str>) = tables.into_iter().unzip();
    let sql = "SELECT w.schema || '.' || w.name FROM unnest($1::text[], $2::text[]) w (schema, name) \
               WHERE NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = w.schema AND c.relname = w.name AND c.relkind IN ('r', 'p', 'v', 'm', 'f')) \
               ORDER BY w.schema, w.name LIMIT 1";
    match transaction.query_opt(sql, &[&schemas, &names]).await? {
        Some(missing) => Err(RoleError::NoTable {
            plugin: plugin.to_owned(),
            table: missing.get(0),
        }),
        None => Ok(()),
    }
}

/// Rights on tables and sequences of other schemas that the login has now.
async fn table_rights(
    transaction: &Transaction<'_>,
    plugin: &str,
    name: &str,
) -> Result<BTreeSet<Right>, tokio_postgres::Error> {
    let sql = "SELECT n.nspname::text, c.relname::text, a.privilege_type FROM pg_class c \
               JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a \
               WHERE a.grantee = (SELECT oid FROM pg_roles WHERE rolname = $2) AND n.nspname <> $1";
    let rows = transaction.query(sql, &[&plugin, &name]).await?;
    Ok(rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect())
}

fn table_changes(held: &BTreeSet<Right>, wanted: &BTreeSet<Right>, login: &str) -> String {
    let table = |schema: &str, name: &str| {
        format!("{}.{}", escape_identifier(schema), escape_identifier(name))
    };
    // The rights come from the whitelist or from the server.
    let revokes = held.difference(wanted).map(|(schema, name, right)| {
        format!("REVOKE {right} ON {} FROM {login};", table(schema, name))
    });
    let grants = wanted.difference(held).map(|(schema, name, right)| {
        format!("GRANT {right} ON {} TO {login};", table(schema, name))
    });
    revokes.chain(grants).collect()
}

/// A table or function can be reached only through its schema. `nself` and `public` are open by name, not by content.
async fn schema_changes(
    transaction: &Transaction<'_>,
    plugin: &str,
    name: &str,
    mut open: BTreeSet<String>,
) -> Result<String, tokio_postgres::Error> {
    let sql = "SELECT n.nspname::text, a.grantee = r.oid FROM pg_roles r, pg_namespace n \
               LEFT JOIN aclexplode(n.nspacl) a ON true WHERE r.rolname = $1 AND n.nspname <> $2 \
               AND (a.grantee = r.oid OR n.nspname IN ('nself', 'public'))";
    let rows = transaction.query(sql, &[&name, &plugin]).await?;
    open.extend(
        rows.iter()
            .map(|row| row.get::<_, String>(0))
            .filter(|schema| schema == "nself" || schema == "public"),
    );
    let login = escape_identifier(name);
    let closed: BTreeSet<String> = rows
        .iter()
        .filter(|row| row.get::<_, Option<bool>>(1) == Some(true))
        .map(|row| row.get(0))
        .filter(|schema| !open.contains(schema))
        .collect();
    let revokes = closed.iter().map(|schema| {
        format!(
            "REVOKE ALL ON SCHEMA {} FROM {login};",
            escape_identifier(schema)
        )
    });
    let grants = open.iter().map(|schema| {
        format!(
            "GRANT USAGE ON SCHEMA {} TO {login};",
            escape_identifier(schema)
        )
    });
    Ok(revokes.chain(grants).collect())
}

async fn function_changes(
    transaction: &Transaction<'_>,
    name: &str,
    functions: &[&str],
) -> Result<String, RoleError> {
    let sql = "SELECT p.proname::text, format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), \
               has.grantee IS NOT NULL, everybody.grantee IS NOT NULL OR p.proacl IS NULL \
               FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname = 'nself' \
               LEFT JOIN aclexplode(p.proacl) everybody ON everybody.grantee = 0 \
               LEFT JOIN aclexplode(p.proacl) has ON has.grantee = (SELECT oid FROM pg_roles WHERE rolname = $1) \
               ORDER BY 2";
    let rows = transaction.query(sql, &[&name]).await?;
    if let Some(missing) = functions
        .iter()
        .find(|name| !rows.iter().any(|row| row.get::<_, &str>(0) == **name))
    {
        return Err(RoleError::NoFunction((*missing).to_owned()));
    }
    let login = escape_identifier(name);
    let mut changes = Vec::new();
    for row in rows {
        let (function, signature): (&str, &str) = (row.get(0), row.get(1));
        let (held, is_everybodys): (bool, bool) = (row.get(2), row.get(3));
        if is_everybodys {
            changes.push(format!(
                "REVOKE EXECUTE ON ROUTINE {signature} FROM PUBLIC;"
            ));
        }
        let change = match (held, functions.contains(&function)) {
            (false, true) => Some(format!("GRANT EXECUTE ON ROUTINE {signature} TO {login};")),
            (true, false) => Some(format!(
                "REVOKE EXECUTE ON ROUTINE {signature} FROM {login};"
            )),
            _ => None,
        };
        changes.extend(change);
    }
    Ok(changes.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(table: &str, right: &str, expected: &str) {
        let grant = TableGrant {
            table: table.to_owned(),
            rights: vec![right.to_owned()],
        };
        let error = wanted_rights("notes", &[grant])
            .expect_err("it is refused")
            .to_string();
        assert!(error.contains(expected), "{table} {right}: {error}");
    }

    #[test]
    fn a_manifest_asks_for_tables_and_rights_that_exist() {
        check_refused("families", "select", "does not name a table");
        check_refused("public.", "select", "does not name a table");
        check_refused("a.b.c", "select", "does not name a table");
        check_refused("public.families", "truncate", "is not a right");
        check_refused("public.families", "select; drop table x", "is not a right");
        check_refused(
            "pg_catalog.pg_authid",
            "select",
            "belongs to the host or to Postgres",
        );
        check_refused(
            "nself.audit_log",
            "delete",
            "belongs to the host or to Postgres",
        );
    }

    #[test]
    fn a_table_of_its_own_needs_no_grant() {
        let grant = TableGrant {
            table: "notes.notes".to_owned(),
            rights: vec!["select".to_owned()],
        };
        assert_eq!(
            wanted_rights("notes", &[grant]).expect("it is fine"),
            BTreeSet::new()
        );
    }
}

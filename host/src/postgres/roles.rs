//! One login per plugin: the database itself keeps a plugin within its schema and the grants of its manifest.
//!
//! The login is a member of no role, so `SET ROLE` and `RESET ROLE` lead nowhere else; it owns nothing, so it cannot
//! change the schema that the host's migrations made. [`prepare`] comes before a plugin's migrations, [`grant`] after
//! all of them. Both are idempotent and safe with several hosts: one lock per database orders them.
//!
//! A login's name starts with the database's, because roles belong to the whole server: two projects in one server have
//! plugins of the same id. In the database `nself` the plugin `auth` logs in as `nself_auth`.

use std::time::Duration;

use aws_lc_rs::digest;
use postgres_protocol::{
    escape::{escape_identifier, escape_literal},
    password::scram_sha_256,
};
use tokio_postgres::{Client, Transaction};

mod grants;
mod provided;

pub use grants::{Grants, grant};
pub use provided::check_provided;

/// Postgres cuts names beyond this many bytes, silently.
const NAME_BYTES_MAX: usize = 63;

/// Orders everything in this module among the hosts of one database. The number is arbitrary and never changes.
const LOCK: i64 = 0x6e73_656c_665f_726f;

/// A plugin's login.
#[derive(Debug, Clone)]
pub struct Login<'a> {
    /// The plugin's id, also its schema.
    pub plugin: &'a str,
    /// Its password: only the SCRAM verifier reaches the server. The same on every host of the database.
    pub password: &'a str,
    /// Most connections at a time, over all hosts.
    pub connections_max: u16,
    /// Longest statement.
    pub statement_timeout: Duration,
    /// Longest pause inside a transaction.
    pub idle_in_transaction_timeout: Duration,
}

impl<'a> Login<'a> {
    /// A login with the default limits: 32 connections, statements of 30 s, pauses of 30 s.
    pub fn new(plugin: &'a str, password: &'a str) -> Self {
        Self {
            plugin,
            password,
            connections_max: 32,
            statement_timeout: Duration::from_secs(30),
            idle_in_transaction_timeout: Duration::from_secs(30),
        }
    }
}

/// Why a plugin has no login, or not its grants.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// The id is the name of a schema that is not a plugin's.
    #[error("a plugin cannot be called {0:?}: that name belongs to the host or to Postgres")]
    Reserved(String),
    /// The host's login may not create logins.
    #[error(
        "the host's login {login} may not create one login per plugin: run `ALTER ROLE {login} CREATEROLE` as an administrator of the database"
    )]
    NoCreateRole {
        /// The host's login, quoted.
        login: String,
    },
    /// The host's login may not create schemas.
    #[error(
        "the host's login {login} may not create schemas: run `GRANT CREATE ON DATABASE {database} TO {login}` as an administrator of the database"
    )]
    NoCreateSchema {
        /// The host's login, quoted.
        login: String,
        /// The database, quoted.
        database: String,
    },
    /// A role of that name is there already and is more than a plugin's.
    #[error(
        "the role {role} exists and {excess}: drop it or take that away, the host does not use it for a plugin as it is"
    )]
    Powerful {
        /// The role, quoted.
        role: String,
        /// What it has or is, in words.
        excess: String,
    },
    /// The schema of the plugin belongs to another role.
    #[error(
        "the schema {schema} belongs to {owner} and not to the host's login {login}: run `ALTER SCHEMA {schema} OWNER TO {login}`"
    )]
    ForeignSchema {
        /// The schema, quoted.
        schema: String,
        /// Who owns it, quoted.
        owner: String,
        /// The host's login, quoted.
        login: String,
    },
    /// Everybody may create in `public`, and the host may not change that.
    #[error(
        "every login may create objects in the schema public: run `REVOKE CREATE ON SCHEMA public FROM PUBLIC` as its owner"
    )]
    OpenPublic,
    /// A table of the manifest has no proper name.
    #[error("{0:?} does not name a table as schema.table")]
    TableName(String),
    /// A right of the manifest does not exist.
    #[error(
        "{right:?} on {table} is not a right: use select, insert, update, delete or references"
    )]
    Right {
        /// The word.
        right: String,
        /// The table.
        table: String,
    },
    /// A table that no plugin may reach that way.
    #[error("no plugin may {right} {table}: it belongs to the host or to Postgres")]
    Forbidden {
        /// The right.
        right: String,
        /// The table.
        table: String,
    },
    /// A table of the manifest is not there.
    #[error(
        "plugin {plugin:?} asks for the table {table}, which does not exist: enable the plugin that owns it first"
    )]
    NoTable {
        /// The plugin.
        plugin: String,
        /// The table.
        table: String,
    },
    /// A function of the host is not there.
    #[error("the function nself.{0} does not exist: run the host's migrations first")]
    NoFunction(String),
    /// A function that a plugin offers is not there.
    #[error(
        "the function {0}, which comes with a capability, does not exist: make it in a migration, or correct its name and types in the manifest"
    )]
    NoProvided(String),
    /// A function that a plugin offers looks for names where its caller says.
    #[error(
        "the function {0} is SECURITY DEFINER and has no search_path of its own, so that its caller could put other tables in its way: add SET search_path to it"
    )]
    SearchPath(String),
    /// [`grant`] came before [`prepare`].
    #[error("the login {0} does not exist: prepare it before granting")]
    NoLogin(String),
    /// The database failed.
    #[error("cannot set up the plugin's login")]
    Database(#[from] tokio_postgres::Error),
}

/// The name of a plugin's login in a database. Names too long for Postgres end in a hash.
pub fn login_name(database: &str, plugin: &str) -> String {
    let name = format!("{database}_{plugin}");
    if name.len() <= NAME_BYTES_MAX {
        return name;
    }
    let digest = digest::digest(&digest::SHA256, name.as_bytes());
    let hash = digest.as_ref()[..8]
        .iter()
        .fold(String::from("_"), |text, byte| {
            text + &format!("{byte:02x}")
        });
    let mut end = NAME_BYTES_MAX - hash.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned() + &hash
}

/// Creates or corrects the plugin's login and schema, so that its migrations can run and what they make is usable by
/// the login. `client` is the host's own connection: superuser, or with CREATEROLE and CREATE on the database.
/// Returns the login's name.
///
/// # Errors
///
/// [`RoleError`] names what an administrator must grant or mend; nothing has been changed then.
pub async fn prepare(client: &mut Client, login: &Login<'_>) -> Result<String, RoleError> {
    check_id(login.plugin)?;
    let transaction = begin(client).await?;
    let host = Host::read(&transaction).await?;
    let name = login_name(&host.database, login.plugin);
    create_login(&transaction, &host, login, &name).await?;
    create_schema(&transaction, &host, login.plugin).await?;
    close_public(&transaction, &name).await?;
    let statements = [
        schema_grants(login.plugin, &name),
        session_defaults(&host, login, &name),
    ];
    transaction.batch_execute(&statements.concat()).await?;
    transaction.commit().await?;
    Ok(name)
}

/// Takes a plugin's login away, with everything granted to it. Its schema and data stay.
///
/// # Errors
///
/// When the database refuses, for instance because the login is still connected to another database's objects.
pub async fn remove(client: &mut Client, plugin: &str) -> Result<(), RoleError> {
    check_id(plugin)?;
    let transaction = begin(client).await?;
    let host = Host::read(&transaction).await?;
    let name = login_name(&host.database, plugin);
    if exists(&transaction, &name).await? {
        let login = escape_identifier(&name);
        // A host that is not superuser must be a member to drop what was granted to the login.
        let join = if host.is_superuser {
            String::new()
        } else {
            format!("GRANT {login} TO CURRENT_USER;")
        };
        transaction
            .batch_execute(&format!("{join} DROP OWNED BY {login}; DROP ROLE {login};"))
            .await?;
    }
    Ok(transaction.commit().await?)
}

/// Who the host is in this database.
struct Host {
    database: String,
    login: String,
    is_superuser: bool,
    may_create_roles: bool,
    may_create_schemas: bool,
}

impl Host {
    async fn read(transaction: &Transaction<'_>) -> Result<Self, tokio_postgres::Error> {
        let sql = "SELECT current_database()::text, rolname::text, rolsuper, rolcreaterole, \
                   has_database_privilege(current_database(), 'CREATE') FROM pg_roles WHERE rolname = current_user";
        let row = transaction.query_one(sql, &[]).await?;
        Ok(Self {
            database: row.get(0),
            login: row.get(1),
            is_superuser: row.get(2),
            may_create_roles: row.get(3),
            may_create_schemas: row.get(4),
        })
    }
}

async fn begin(client: &mut Client) -> Result<Transaction<'_>, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
        .await?;
    Ok(transaction)
}

fn check_id(plugin: &str) -> Result<(), RoleError> {
    let is_reserved = matches!(
        plugin,
        "" | "nself" | "db" | "project" | "public" | "information_schema"
    ) || plugin.starts_with("pg_");
    if is_reserved {
        Err(RoleError::Reserved(plugin.to_owned()))
    } else {
        Ok(())
    }
}

async fn exists(transaction: &Transaction<'_>, name: &str) -> Result<bool, tokio_postgres::Error> {
    Ok(transaction
        .query_opt("SELECT FROM pg_roles WHERE rolname = $1", &[&name])
        .await?
        .is_some())
}

async fn create_login(
    transaction: &Transaction<'_>,
    host: &Host,
    login: &Login<'_>,
    name: &str,
) -> Result<(), RoleError> {
    if !(host.is_superuser || host.may_create_roles) {
        return Err(RoleError::NoCreateRole {
            login: escape_identifier(&host.login),
        });
    }
    let verb = if exists(transaction, name).await? {
        check_harmless(transaction, name).await?;
        "ALTER"
    } else {
        "CREATE"
    };
    // The verifier is computed here: a plain password would stand in the server's log when the statement fails.
    let verifier = escape_literal(&scram_sha_256(login.password.as_bytes()));
    let sql = format!(
        "{verb} ROLE {} LOGIN NOINHERIT CONNECTION LIMIT {} PASSWORD {verifier}",
        escape_identifier(name),
        login.connections_max
    );
    Ok(transaction.batch_execute(&sql).await?)
}

/// A role that somebody else made, or enlarged, is not taken over.
async fn check_harmless(transaction: &Transaction<'_>, name: &str) -> Result<(), RoleError> {
    let sql = "SELECT CASE WHEN rolsuper THEN 'is a superuser' WHEN rolcreaterole THEN 'may create roles' \
               WHEN rolcreatedb THEN 'may create databases' WHEN rolreplication THEN 'may replicate' \
               WHEN rolbypassrls THEN 'passes row-level security' \
               ELSE (SELECT 'is a member of ' || string_agg(quote_ident(pg_get_userbyid(roleid)), ', ') \
                     FROM pg_auth_members WHERE member = r.oid) END \
               FROM pg_roles r WHERE rolname = $1";
    let excess: Option<String> = transaction.query_one(sql, &[&name]).await?.get(0);
    match excess {
        Some(excess) => Err(RoleError::Powerful {
            role: escape_identifier(name),
            excess,
        }),
        None => Ok(()),
    }
}

async fn create_schema(
    transaction: &Transaction<'_>,
    host: &Host,
    plugin: &str,
) -> Result<(), RoleError> {
    let schema = escape_identifier(plugin);
    let sql = "SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = $1";
    match transaction
        .query_opt(sql, &[&plugin])
        .await?
        .map(|row| row.get::<_, String>(0))
    {
        Some(owner) if owner == host.login || host.is_superuser => Ok(()),
        Some(owner) => {
            let (owner, login) = (escape_identifier(&owner), escape_identifier(&host.login));
            Err(RoleError::ForeignSchema {
                schema,
                owner,
                login,
            })
        }
        None if host.may_create_schemas => Ok(transaction
            .batch_execute(&format!("CREATE SCHEMA {schema}"))
            .await?),
        None => {
            let (login, database) = (
                escape_identifier(&host.login),
                escape_identifier(&host.database),
            );
            Err(RoleError::NoCreateSchema { login, database })
        }
    }
}

/// Databases that were made before Postgres 15 let everybody create in `public`.
async fn close_public(transaction: &Transaction<'_>, name: &str) -> Result<(), RoleError> {
    let is_open = async || -> Result<bool, tokio_postgres::Error> {
        let sql = "SELECT has_schema_privilege($1, 'public', 'CREATE') FROM pg_namespace WHERE nspname = 'public'";
        Ok(transaction
            .query_opt(sql, &[&name])
            .await?
            .is_some_and(|row| row.get(0)))
    };
    if !is_open().await? {
        return Ok(());
    }
    // Of a schema that is not ours this revokes nothing, with a warning only, or fails: look again.
    let revoked = transaction
        .batch_execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        .await;
    if revoked.is_err() || is_open().await? {
        Err(RoleError::OpenPublic)
    } else {
        Ok(())
    }
}

/// What is in the plugin's schema now, and what the host's migrations will put there.
fn schema_grants(plugin: &str, name: &str) -> String {
    let (schema, login) = (escape_identifier(plugin), escape_identifier(name));
    let kinds = [
        ("TABLES", "SELECT, INSERT, UPDATE, DELETE"),
        ("SEQUENCES", "USAGE, SELECT"),
        ("ROUTINES", "EXECUTE"),
    ];
    let usage = format!(
        "REVOKE ALL ON SCHEMA {schema} FROM PUBLIC; GRANT USAGE ON SCHEMA {schema} TO {login};"
    );
    kinds.iter().fold(usage, |sql, (kind, rights)| {
        sql + &format!(
            "GRANT {rights} ON ALL {kind} IN SCHEMA {schema} TO {login};\
             ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT {rights} ON {kind} TO {login};"
        )
    })
}

/// What a session of the login starts with. A login can change its own defaults, so each start sets them anew; they
/// guard against accidents, the grants are the wall.
fn session_defaults(host: &Host, login: &Login<'_>, name: &str) -> String {
    let (name, database) = (escape_identifier(name), escape_identifier(&host.database));
    let schema = escape_identifier(login.plugin);
    let set = format!("ALTER ROLE {name} IN DATABASE {database} SET");
    format!(
        "ALTER ROLE {name} RESET ALL; ALTER ROLE {name} IN DATABASE {database} RESET ALL;\
         GRANT CONNECT ON DATABASE {database} TO {name};\
         {set} search_path = {schema}, public, pg_temp;\
         {set} statement_timeout = '{}ms';\
         {set} idle_in_transaction_session_timeout = '{}ms';",
        login.statement_timeout.as_millis(),
        login.idle_in_transaction_timeout.as_millis(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_named_for_database_and_plugin() {
        assert_eq!(login_name("nself", "auth"), "nself_auth");
    }

    #[test]
    fn long_names_stay_different() {
        let (one, other) = (
            login_name(&"é".repeat(40), "auth"),
            login_name(&"é".repeat(40), "mail"),
        );
        assert!(one.len() <= NAME_BYTES_MAX && other.len() <= NAME_BYTES_MAX);
        assert_ne!(one, other);
    }

    #[test]
    fn the_schemas_of_host_and_postgres_are_no_plugins() {
        for id in ["", "nself", "public", "pg_catalog", "information_schema"] {
            assert!(matches!(check_id(id), Err(RoleError::Reserved(_))), "{id}");
        }
        assert!(check_id("page_builder").is_ok());
    }
}

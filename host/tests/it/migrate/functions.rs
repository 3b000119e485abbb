//! The functions of schema `nself`, as a plugin's own login meets them.

use nself::migrate::{Migrator, Options, Owner, PLUGIN_FUNCTIONS};
use nself::postgres::roles::login_name;
use nself::postgres::scratch::TestDatabase;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use super::{migrated, notes};

/// A login as the host makes it for the plugin whose id is the database's name, with the right to emit `notes.*`.
pub(crate) async fn plugin_login(database: &TestDatabase) -> Client {
    let (client, id) = (database.client().await, database.name());
    let login = login_name(id, id);
    client
        .batch_execute(&format!(
            "CREATE ROLE {login} LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA nself TO {login}"
        ))
        .await
        .unwrap();
    for function in PLUGIN_FUNCTIONS {
        client
            .batch_execute(&format!("GRANT EXECUTE ON FUNCTION {function} TO {login}"))
            .await
            .unwrap();
    }
    let sql = "INSERT INTO nself.plugins (id, version, sha256, granted) VALUES ($1, '1.0.0', repeat('0', 64), '{\"emits\": [\"notes.*\"]}')";
    client.execute(sql, &[&id]).await.unwrap();
    let mut config = database.config();
    config.user(&login).password("x");
    let (login, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    login
}

pub(crate) async fn drop_login(database: &TestDatabase) {
    let login = login_name(database.name(), database.name());
    database
        .client()
        .await
        .batch_execute(&format!("DROP OWNED BY {login}; DROP ROLE {login}"))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_database_names_a_plugins_login_as_the_host_does() {
    let database = migrated().await;
    let client = database.client().await;
    for plugin in ["notes", &"long".repeat(20), &"ü".repeat(40)] {
        let row = client
            .query_one("SELECT nself.login_name($1)", &[&plugin])
            .await
            .unwrap();
        assert_eq!(
            row.get::<_, String>(0),
            login_name(database.name(), plugin),
            "{plugin}"
        );
    }
}

#[tokio::test]
async fn ids_are_uuid_v7_of_now() {
    let database = migrated().await;
    let client = database.client().await;
    let before = jiff::Timestamp::now().as_millisecond();
    let id: Uuid = client
        .query_one("SELECT nself.uuid_v7()", &[])
        .await
        .unwrap()
        .get(0);
    let after = jiff::Timestamp::now().as_millisecond();
    assert_eq!(
        (id.get_version_num(), id.get_variant()),
        (7, uuid::Variant::RFC4122)
    );
    let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
    let millis = i64::try_from(seconds).unwrap() * 1000 + i64::from(nanos / 1_000_000);
    assert!(
        (before..=after).contains(&millis),
        "{before} {millis} {after}"
    );
}

#[tokio::test]
async fn tenant_facts_are_null_until_they_are_set() {
    let database = migrated().await;
    let client = database.client().await;
    let sql = "SELECT nself.current_family_id(), nself.current_user_id(), nself.current_role()";
    let facts = |row: tokio_postgres::Row| {
        (
            row.get::<_, Option<Uuid>>(0),
            row.get::<_, Option<Uuid>>(1),
            row.get::<_, Option<String>>(2),
        )
    };
    assert_eq!(
        facts(client.query_one(sql, &[]).await.unwrap()),
        (None, None, None)
    );
    let (family, user) = (Uuid::now_v7(), Uuid::now_v7());
    client.batch_execute(&format!("BEGIN; SELECT set_config('nself.family_id', '{family}', true), set_config('nself.user_id', '{user}', true), set_config('nself.role', 'OWNER', true)")).await.unwrap();
    assert_eq!(
        facts(client.query_one(sql, &[]).await.unwrap()),
        (Some(family), Some(user), Some("OWNER".into()))
    );
    // After the transaction the setting is an empty text, not absent.
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(
        facts(client.query_one(sql, &[]).await.unwrap()),
        (None, None, None)
    );
}

#[tokio::test]
async fn a_plugin_emits_as_itself_and_only_what_it_was_granted() {
    let database = migrated().await;
    let login = plugin_login(&database).await;
    login
        .batch_execute("SELECT nself.emit_event('notes.added', 'note/1', '{\"a\": 1}')")
        .await
        .unwrap();
    let client = database.client().await;
    let source: String = client
        .query_one("SELECT source FROM nself.events", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(source, format!("/plugins/{}", database.name()));
    let error = login
        .batch_execute("SELECT nself.emit_event('family.removed', NULL, '{}')")
        .await
        .unwrap_err();
    let error = error.as_db_error().unwrap().message().to_owned();
    assert_eq!(
        error,
        format!(
            "plugin \"{}\" may not emit \"family.removed\"",
            database.name()
        )
    );
    client
        .batch_execute("SELECT nself.emit_event('family.removed', NULL, '{}')")
        .await
        .unwrap();
    drop_login(&database).await;
}

#[tokio::test]
async fn a_plugin_reaches_nothing_else_of_the_hosts_schema() {
    let database = migrated().await;
    let login = plugin_login(&database).await;
    login
        .batch_execute("SELECT nself.audit('note.added', 'note/1'), nself.uuid_v7()")
        .await
        .unwrap();
    for sql in [
        "SELECT * FROM nself.events",
        "SELECT * FROM nself.audit_log",
        "SELECT * FROM nself.migrations",
        "UPDATE nself.plugins SET granted = '{\"emits\": [\"*\"]}'",
        "INSERT INTO nself.audit_log (source, actor, action) VALUES ('a', 'b', 'c')",
        "SELECT nself.prune_events('0 s')",
        "SELECT nself.rebase_events()",
        "SELECT * FROM nself.verify_audit()",
        "SET SESSION AUTHORIZATION postgres",
    ] {
        let error = login.batch_execute(sql).await.expect_err(sql);
        assert_eq!(error.code().unwrap().code(), "42501", "{sql}: {error}");
    }
    drop_login(&database).await;
}

#[tokio::test]
async fn an_event_exists_exactly_when_its_transaction_does() {
    let database = migrated().await;
    let client = database.client().await;
    client
        .batch_execute("BEGIN; SELECT nself.emit_event('a.b', NULL, NULL); ROLLBACK")
        .await
        .unwrap();
    assert_eq!(
        client
            .query_one("SELECT count(*) FROM nself.events", &[])
            .await
            .unwrap()
            .get::<_, i64>(0),
        0
    );
    for wrong in ["'a'", "'A.b'", "'a.b '", "'a..b'"] {
        client
            .batch_execute(&format!("SELECT nself.emit_event({wrong}, NULL, NULL)"))
            .await
            .expect_err(wrong);
    }
    let big = "SELECT nself.emit_event('a.b', NULL, to_jsonb(repeat('x', 300000)))";
    client.batch_execute(big).await.unwrap_err();
}

#[tokio::test]
async fn a_host_login_without_superuser_rights_can_do_all_this() {
    let database = super::database().await;
    let (client, name) = (database.client().await, database.name());
    // Its name looks like a plugin's; it is the host because it owns the schema.
    let login = format!("nself_owner_{name}");
    let make = format!(
        "CREATE ROLE {login} LOGIN PASSWORD 'x'; GRANT CREATE ON DATABASE {name} TO {login}"
    );
    client.batch_execute(&make).await.unwrap();
    let mut config = database.config();
    config.user(&login).password("x");
    let (host, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    let mut migrator = Migrator::new(host, Options::default());
    migrator.up(&[Owner::host(), notes(2)]).await.unwrap();
    let (host, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    host.batch_execute("SELECT nself.emit_event('a.b', NULL, NULL), nself.audit('a', 'b')")
        .await
        .unwrap();
    let sources = "SELECT (SELECT source FROM nself.events), (SELECT source FROM nself.audit_log), nself.rebase_events()";
    let row = client.query_one(sources, &[]).await.unwrap();
    assert_eq!(
        (
            row.get::<_, &str>(0),
            row.get::<_, &str>(1),
            row.get::<_, bool>(2)
        ),
        ("/nself", "/nself", false)
    );
    migrator
        .down(&Owner::host(), Owner::host().steps.len())
        .await
        .unwrap();
    client
        .batch_execute(&format!("DROP OWNED BY {login} CASCADE; DROP ROLE {login}"))
        .await
        .unwrap();
}

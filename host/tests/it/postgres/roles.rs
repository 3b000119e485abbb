//! One login per plugin: what it can do, and everything that it cannot.

use nself::{
    plugin::manifest::TableGrant,
    postgres::{
        roles::{self, Grants, Login, RoleError},
        scratch::{Scratch, TestDatabase},
    },
};
use tokio_postgres::{Client, NoTls, error::SqlState};

/// A database with two plugins, a shared table, and the host's functions.
struct House {
    database: TestDatabase,
    host: Client,
}

const SHARED: &str = "
CREATE SCHEMA nself;
CREATE FUNCTION nself.emit(kind text) RETURNS text LANGUAGE sql AS 'SELECT kind';
CREATE FUNCTION nself.emit(kind text, times int) RETURNS text LANGUAGE sql AS 'SELECT repeat(kind, times)';
CREATE FUNCTION nself.prune() RETURNS text LANGUAGE sql AS $$SELECT 'pruned'$$;
CREATE TABLE nself.audit_log (id int);
CREATE TABLE public.families (id int PRIMARY KEY, name text);
";

impl House {
    async fn new() -> Self {
        let database = Scratch::shared().database().await;
        let mut host = database.client().await;
        host.batch_execute(SHARED).await.unwrap();
        for plugin in ["notes", "mail"] {
            roles::prepare(&mut host, &Login::new(plugin, plugin))
                .await
                .unwrap();
            let table = format!(
                "CREATE TABLE {plugin}.items (id int GENERATED ALWAYS AS IDENTITY, text text)"
            );
            host.batch_execute(&table).await.unwrap();
        }
        Self { database, host }
    }

    async fn login(&self, plugin: &str) -> Client {
        login(&self.database, &self.role(plugin), plugin)
            .await
            .unwrap()
    }

    fn role(&self, plugin: &str) -> String {
        roles::login_name(self.database.name(), plugin)
    }

    async fn grant(
        &mut self,
        tables: &[(&str, &[&str])],
        functions: &[&str],
    ) -> Result<(), RoleError> {
        let tables: Vec<TableGrant> = tables
            .iter()
            .map(|(table, rights)| TableGrant {
                table: (*table).to_owned(),
                rights: rights.iter().map(|right| (*right).to_owned()).collect(),
            })
            .collect();
        roles::grant(
            &mut self.host,
            "notes",
            &Grants {
                tables: &tables,
                functions,
                ..Grants::default()
            },
        )
        .await
    }
}

async fn login(
    database: &TestDatabase,
    user: &str,
    password: &str,
) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = database
        .config()
        .user(user)
        .password(password)
        .connect(NoTls)
        .await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn check_denied(client: &Client, sql: &str) {
    let error = client.batch_execute(sql).await.expect_err(sql);
    assert_eq!(
        error.code(),
        Some(&SqlState::INSUFFICIENT_PRIVILEGE),
        "{sql}: {error:?}"
    );
}

async fn text(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_plugin_works_in_its_own_schema() {
    let house = House::new().await;
    let notes = house.login("notes").await;
    notes
        .batch_execute("INSERT INTO items (text) VALUES ('a'); UPDATE items SET text = 'b'; SELECT * FROM items; DELETE FROM items")
        .await
        .unwrap();
    assert_eq!(
        text(&notes, "SHOW search_path").await,
        "notes, public, pg_temp"
    );
    assert_eq!(text(&notes, "SHOW statement_timeout").await, "30s");
    assert_eq!(
        text(&notes, "SHOW idle_in_transaction_session_timeout").await,
        "30s"
    );
}

#[tokio::test]
async fn a_plugin_cannot_leave_its_login() {
    let house = House::new().await;
    let notes = house.login("notes").await;
    let (mail, owner) = (house.role("mail"), "postgres");
    for role in [mail.as_str(), owner] {
        check_denied(&notes, &format!("SET ROLE {role}")).await;
        check_denied(&notes, &format!("SET SESSION AUTHORIZATION {role}")).await;
    }
    check_denied(&notes, &format!("GRANT {mail} TO CURRENT_USER")).await;
    check_denied(&notes, &format!("ALTER ROLE {mail} PASSWORD 'x'")).await;
    check_denied(&notes, "ALTER ROLE CURRENT_USER SUPERUSER").await;
    check_denied(&notes, "CREATE ROLE other").await;
    notes
        .batch_execute("RESET ROLE; RESET SESSION AUTHORIZATION; RESET ALL")
        .await
        .unwrap();
    check_denied(&notes, "SELECT * FROM mail.items").await;
    assert_eq!(
        text(&notes, "SELECT current_user::text").await,
        house.role("notes")
    );
}

#[tokio::test]
async fn a_plugin_reaches_no_other_schema() {
    let house = House::new().await;
    let notes = house.login("notes").await;
    for sql in [
        "SELECT * FROM mail.items",
        "INSERT INTO mail.items (text) VALUES ('x')",
        "SELECT * FROM public.families",
        "SELECT * FROM nself.audit_log",
        "SELECT * FROM pg_authid",
        "CREATE TABLE public.mine (id int)",
        "CREATE TABLE notes.mine (id int)",
        "CREATE TABLE mail.mine (id int)",
        "CREATE SCHEMA mine",
        "DROP TABLE notes.items",
        "ALTER TABLE notes.items ADD COLUMN x int",
        "TRUNCATE notes.items",
        "COPY notes.items TO PROGRAM 'cat'",
        "SELECT pg_read_file('/etc/passwd')",
    ] {
        check_denied(&notes, sql).await;
    }
}

#[tokio::test]
async fn the_manifest_opens_tables_and_a_smaller_one_closes_them() {
    let mut house = House::new().await;
    let notes = house.login("notes").await;
    house
        .grant(
            &[
                ("public.families", &["select", "insert"]),
                ("mail.items", &["select"]),
            ],
            &[],
        )
        .await
        .unwrap();
    notes.batch_execute("INSERT INTO families VALUES (1, 'a'); SELECT * FROM families; SELECT * FROM mail.items").await.unwrap();
    check_denied(&notes, "DELETE FROM families").await;
    check_denied(&notes, "INSERT INTO mail.items (text) VALUES ('x')").await;

    house
        .grant(&[("public.families", &["select"])], &[])
        .await
        .unwrap();
    notes
        .batch_execute("SELECT * FROM families; SELECT * FROM items")
        .await
        .unwrap();
    check_denied(&notes, "INSERT INTO families VALUES (2, 'b')").await;
    check_denied(&notes, "SELECT * FROM mail.items").await;
    let usage = format!(
        "SELECT has_schema_privilege('{}', 'mail', 'USAGE')::text",
        house.role("notes")
    );
    assert_eq!(text(&house.host, &usage).await, "false");
}

#[tokio::test]
async fn functions_of_the_host_are_granted_by_name() {
    let mut house = House::new().await;
    house.grant(&[], &["emit"]).await.unwrap();
    let notes = house.login("notes").await;
    assert_eq!(
        text(&notes, "SELECT nself.emit('x') || nself.emit('y', 2)").await,
        "xyy"
    );
    check_denied(&notes, "SELECT nself.prune()").await;
    house.grant(&[], &["prune"]).await.unwrap();
    assert_eq!(text(&notes, "SELECT nself.prune()").await, "pruned");
    check_denied(&notes, "SELECT nself.emit('x')").await;
}

#[tokio::test]
async fn what_is_not_there_is_named_and_nothing_is_granted() {
    let mut house = House::new().await;
    let error = house
        .grant(
            &[
                ("public.families", &["select"]),
                ("public.pets", &["select"]),
            ],
            &[],
        )
        .await
        .unwrap_err();
    assert!(
        matches!(&error, RoleError::NoTable { table, .. } if table == "public.pets"),
        "{error}"
    );
    let error = house
        .grant(&[("public.families", &["select"])], &["emitt"])
        .await
        .unwrap_err();
    assert!(
        matches!(&error, RoleError::NoFunction(name) if name == "emitt"),
        "{error}"
    );
    check_denied(&house.login("notes").await, "SELECT * FROM families").await;
    let error = roles::grant(&mut house.host, "jobs", &Grants::default())
        .await
        .unwrap_err();
    assert!(matches!(error, RoleError::NoLogin(_)), "{error}");
}

const FUNCTIONS: &str = "
CREATE FUNCTION mail.send(text) RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = mail, pg_temp
    AS 'INSERT INTO items (text) VALUES ($1); SELECT count(*) FROM items';
CREATE FUNCTION mail.send(text, bigint) RETURNS bigint LANGUAGE sql AS 'SELECT $2';
CREATE FUNCTION mail.loose() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM mail.items';
";

async fn grant_provided(
    house: &mut House,
    plugin: &str,
    provided: &[&str],
) -> Result<(), RoleError> {
    let grants = Grants {
        provided,
        ..Grants::default()
    };
    roles::grant(&mut house.host, plugin, &grants).await
}

#[tokio::test]
async fn functions_of_another_plugin_are_opened_one_by_one_and_closed_again() {
    let mut house = House::new().await;
    house.host.batch_execute(FUNCTIONS).await.unwrap();
    grant_provided(&mut house, "mail", &[]).await.unwrap();
    let notes = house.login("notes").await;
    check_denied(&notes, "SELECT mail.send('a')").await;

    let one = ["mail.send(text)"];
    grant_provided(&mut house, "notes", &one).await.unwrap();
    notes.batch_execute("SELECT mail.send('a')").await.unwrap();
    for sql in [
        "SELECT mail.send('a', 1)",
        "SELECT mail.loose()",
        "SELECT * FROM mail.items",
    ] {
        check_denied(&notes, sql).await;
    }

    let other = ["mail.send( text , int8 )"];
    grant_provided(&mut house, "notes", &other).await.unwrap();
    notes
        .batch_execute("SELECT mail.send('a', 1)")
        .await
        .unwrap();
    check_denied(&notes, "SELECT mail.send('a')").await;

    grant_provided(&mut house, "notes", &[]).await.unwrap();
    check_denied(&notes, "SELECT mail.send('a', 1)").await;
    let sql = "SELECT has_schema_privilege(current_user, 'mail', 'USAGE')::text";
    assert_eq!(text(&notes, sql).await, "false");
}

#[tokio::test]
async fn functions_of_a_plugin_are_its_own_and_nobody_elses() {
    let mut house = House::new().await;
    house.host.batch_execute(FUNCTIONS).await.unwrap();
    grant_provided(&mut house, "mail", &[]).await.unwrap();
    // The schema is open to it for a table, and that opens no function.
    house
        .grant(&[("mail.items", &["select"])], &[])
        .await
        .unwrap();
    let (mail, notes) = (house.login("mail").await, house.login("notes").await);
    notes
        .batch_execute("SELECT * FROM mail.items")
        .await
        .unwrap();
    check_denied(&notes, "SELECT mail.send('a')").await;
    mail.batch_execute("SELECT mail.send('a'); SELECT mail.loose()")
        .await
        .unwrap();
    // Nor does what the next migration makes.
    let next = "CREATE FUNCTION mail.next() RETURNS int LANGUAGE sql AS 'SELECT 1'";
    house.host.batch_execute(next).await.unwrap();
    grant_provided(&mut house, "mail", &["mail.send(text)"])
        .await
        .unwrap();
    check_denied(&notes, "SELECT mail.next()").await;
    mail.batch_execute("SELECT mail.next()").await.unwrap();
}

#[tokio::test]
async fn a_function_that_is_not_there_or_lets_its_caller_choose_the_tables_is_not_offered() {
    let mut house = House::new().await;
    house.host.batch_execute(FUNCTIONS).await.unwrap();
    for missing in [
        "mail.send(int)",
        "mail.fetch()",
        "mail.send(no_type)",
        "gone.send(text)",
    ] {
        let error = roles::check_provided(&house.host, &[missing]).await;
        let error = error.unwrap_err();
        assert!(
            matches!(&error, RoleError::NoProvided(name) if name == missing),
            "{missing}: {error:?}"
        );
        let error = grant_provided(&mut house, "notes", &[missing]).await;
        assert!(matches!(error, Err(RoleError::NoProvided(_))), "{missing}");
    }
    let error = roles::check_provided(&house.host, &["mail.loose()"]).await;
    let error = error.unwrap_err();
    assert!(
        matches!(&error, RoleError::SearchPath(name) if name == "mail.loose()"),
        "{error}"
    );
    let good = ["mail.send(text)", "mail.send(text, bigint)"];
    roles::check_provided(&house.host, &good).await.unwrap();
}

#[tokio::test]
async fn names_that_need_quotes_are_quoted() {
    let mut house = House::new().await;
    let table = "odd \"schema\".odd \"table\"; DROP TABLE public.families";
    house
        .host
        .batch_execute("CREATE SCHEMA \"odd \"\"schema\"\"\"; CREATE TABLE \"odd \"\"schema\"\"\".\"odd \"\"table\"\"; DROP TABLE public\" (id int)")
        .await
        .unwrap();
    let error = house.grant(&[(table, &["select"])], &[]).await.unwrap_err();
    assert!(matches!(error, RoleError::TableName(_)), "{error}");
    house
        .grant(
            &[(
                "odd \"schema\".odd \"table\"; DROP TABLE public",
                &["select"],
            )],
            &[],
        )
        .await
        .unwrap();
    let mut client = house.database.client().await;
    roles::prepare(&mut client, &Login::new("note-book", "x"))
        .await
        .unwrap();
    login(&house.database, &house.role("note-book"), "x")
        .await
        .unwrap();
}

#[tokio::test]
async fn preparing_again_changes_the_password_and_mends_the_defaults() {
    let mut house = House::new().await;
    let notes = house.login("notes").await;
    notes.batch_execute("ALTER ROLE CURRENT_USER SET search_path = mail; ALTER ROLE CURRENT_USER SET statement_timeout = 0").await.unwrap();
    roles::prepare(&mut house.host, &Login::new("notes", "next"))
        .await
        .unwrap();
    let error = login(&house.database, &house.role("notes"), "notes")
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::INVALID_PASSWORD));
    let notes = login(&house.database, &house.role("notes"), "next")
        .await
        .unwrap();
    assert_eq!(
        text(&notes, "SHOW search_path").await,
        "notes, public, pg_temp"
    );
    assert_eq!(text(&notes, "SHOW statement_timeout").await, "30s");
}

#[tokio::test]
async fn eight_hosts_prepare_and_grant_at_once() {
    let house = House::new().await;
    let host = async || {
        let mut client = house.database.client().await;
        roles::prepare(&mut client, &Login::new("jobs", "jobs"))
            .await
            .unwrap();
        let tables = [TableGrant {
            table: "public.families".to_owned(),
            rights: vec!["select".to_owned()],
        }];
        roles::grant(
            &mut client,
            "jobs",
            &Grants {
                tables: &tables,
                functions: &["emit"],
                ..Grants::default()
            },
        )
        .await
        .unwrap();
    };
    futures_util::future::join_all((0..8).map(|_| host())).await;
    house
        .login("jobs")
        .await
        .batch_execute("SELECT * FROM families; SELECT nself.emit('x')")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_removed_login_is_gone_and_its_data_stays() {
    let mut house = House::new().await;
    house
        .grant(&[("public.families", &["select"])], &["emit"])
        .await
        .unwrap();
    roles::remove(&mut house.host, "notes").await.unwrap();
    roles::remove(&mut house.host, "notes").await.unwrap();
    login(&house.database, &house.role("notes"), "notes")
        .await
        .unwrap_err();
    house
        .host
        .batch_execute("SELECT * FROM notes.items")
        .await
        .unwrap();
}

/// A login as an external database gives one to the host.
async fn external(database: &TestDatabase, attributes: &str) -> Client {
    let name = format!("{}_host", database.name());
    let admin = database.client().await;
    admin
        .batch_execute(&format!(
            "CREATE ROLE {name} LOGIN PASSWORD 'host' {attributes}"
        ))
        .await
        .unwrap();
    login(database, &name, "host").await.unwrap()
}

#[tokio::test]
async fn an_external_database_needs_createrole_and_create() {
    let database = Scratch::shared().database().await;
    let name = format!("{}_host", database.name());
    let mut host = external(&database, "").await;
    let error = roles::prepare(&mut host, &Login::new("notes", "x"))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&format!("ALTER ROLE \"{name}\" CREATEROLE")),
        "{error}"
    );

    let admin = database.client().await;
    admin
        .batch_execute(&format!("ALTER ROLE {name} CREATEROLE"))
        .await
        .unwrap();
    let error = roles::prepare(&mut host, &Login::new("notes", "x"))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&format!(
            "GRANT CREATE ON DATABASE \"{}\" TO \"{name}\"",
            database.name()
        )),
        "{error}"
    );

    admin
        .batch_execute(&format!(
            "GRANT CREATE ON DATABASE {} TO {name}",
            database.name()
        ))
        .await
        .unwrap();
    for _ in 0..2 {
        roles::prepare(&mut host, &Login::new("notes", "x"))
            .await
            .unwrap();
    }
    host.batch_execute("CREATE TABLE notes.items (id int); CREATE SCHEMA shared; CREATE TABLE shared.families (id int)").await.unwrap();
    let tables = [TableGrant {
        table: "shared.families".to_owned(),
        rights: vec!["SELECT".to_owned()],
    }];
    roles::grant(
        &mut host,
        "notes",
        &Grants {
            tables: &tables,
            ..Grants::default()
        },
    )
    .await
    .unwrap();
    let notes = login(&database, &roles::login_name(database.name(), "notes"), "x")
        .await
        .unwrap();
    notes
        .batch_execute("SELECT * FROM items; SELECT * FROM shared.families")
        .await
        .unwrap();
    drop(notes);
    roles::remove(&mut host, "notes").await.unwrap();
}

#[tokio::test]
async fn a_public_schema_that_everybody_may_write_is_closed_or_refused() {
    let database = Scratch::shared().database().await;
    let admin = database.client().await;
    admin
        .batch_execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        .await
        .unwrap();
    let mut host = external(&database, "CREATEROLE").await;
    admin
        .batch_execute(&format!(
            "GRANT CREATE ON DATABASE {0} TO {0}_host",
            database.name()
        ))
        .await
        .unwrap();
    let error = roles::prepare(&mut host, &Login::new("notes", "x"))
        .await
        .unwrap_err();
    assert!(matches!(error, RoleError::OpenPublic), "{error}");
    let mut admin = database.client().await;
    roles::prepare(&mut admin, &Login::new("notes", "x"))
        .await
        .unwrap();
    let notes = login(&database, &roles::login_name(database.name(), "notes"), "x")
        .await
        .unwrap();
    check_denied(&notes, "CREATE TABLE public.mine (id int)").await;
}

#[tokio::test]
async fn a_powerful_role_of_the_same_name_is_not_taken_over() {
    let mut house = House::new().await;
    let (notes, mail) = (house.role("notes"), house.role("mail"));
    for (make, undo, excess) in [
        (
            format!("ALTER ROLE {notes} SUPERUSER"),
            format!("ALTER ROLE {notes} NOSUPERUSER"),
            "is a superuser",
        ),
        (
            format!("GRANT {mail} TO {notes}"),
            format!("REVOKE {mail} FROM {notes}"),
            "is a member of",
        ),
    ] {
        house.host.batch_execute(&make).await.unwrap();
        let error = roles::prepare(&mut house.host, &Login::new("notes", "x"))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(excess), "{error}");
        house.host.batch_execute(&undo).await.unwrap();
    }
}

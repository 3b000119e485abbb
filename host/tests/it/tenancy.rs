//! In whose name a plugin's statements run: the host says it, for one transaction at a time, and on a connection that many requests
//! share nothing of it stays.

use std::{
    future::{Future, ready},
    sync::Arc,
    task::Poll,
};

use futures_util::future::poll_fn;
use nself::{
    capability::{caller, db::Database},
    identity::{Kind, Principal},
    migrate::{Migrator, Options, Owner, PLUGIN_FUNCTIONS},
    plugin::manifest::{Families, Requires, Role, TableGrant},
    postgres::{
        connect::{Target, pool},
        roles::{self, Grants, Login},
        scratch::{Scratch, TestDatabase},
    },
};
use nself_plugin_api::abi::{
    bytes::Bytes,
    capability::db::{Db, Rows, Session, mode},
    error::Error,
};
use uuid::Uuid;

const PLUGIN: &str = "notes";
const NAMES: &str = "select name from public.devices order by name";

/// Two families with a machine each, and a plugin with one connection for everybody.
struct World {
    database: TestDatabase,
    db: Arc<Db>,
    smiths: Arc<Principal>,
    joneses: Arc<Principal>,
}

impl World {
    async fn new(families: Families) -> Self {
        let database = modelled().await;
        let mut client = database.client().await;
        let mut people = vec![];
        for name in ["Smith", "Jones"] {
            let sql = "with person as (insert into public.users (display_name) values ($1) returning id) \
                       select id from person";
            let user: Uuid = client.query_one(sql, &[&name]).await.unwrap().get(0);
            let sql = "select public.create_family($1, $2)";
            let family: Uuid = client.query_one(sql, &[&name, &user]).await.unwrap().get(0);
            let sql = "insert into public.devices (family_id, name) values ($1, $2)";
            client.execute(sql, &[&family, &name]).await.unwrap();
            people.push(owner(user, family));
        }
        let requires = Requires {
            tables: vec![right("public.devices"), right("public.family_members")],
            families,
            ..Requires::default()
        };
        let login = Login::new(PLUGIN, "x");
        let name = roles::prepare(&mut client, &login).await.unwrap();
        let functions: Vec<&str> = PLUGIN_FUNCTIONS
            .iter()
            .filter_map(|signature| signature.strip_prefix("nself.")?.split('(').next())
            .collect();
        let grants = Grants {
            tables: &requires.tables,
            functions: &functions,
            provided: &[],
        };
        roles::grant(&mut client, PLUGIN, &grants).await.unwrap();
        let sql = "insert into nself.plugins (id, version, sha256, granted) values ($1, '1.0.0', repeat('0', 64), $2)";
        let granted = serde_json::to_value(&requires).unwrap();
        client.execute(sql, &[&PLUGIN, &granted]).await.unwrap();
        let target = Target::local(database.config()).with_login(&name, "x");
        let [smiths, joneses] = people.try_into().expect("two families");
        Self {
            db: Arc::new(Database::capability(pool(&target, 1), target, &requires)),
            database,
            smiths,
            joneses,
        }
    }

    /// What a single statement in this name sees.
    async fn sees(&self, who: Option<&Arc<Principal>>) -> Vec<String> {
        names(
            &in_name_of(who, || self.db.query(NAMES.into(), no_params()))
                .await
                .unwrap(),
        )
    }

    #[track_caller]
    fn check(seen: &[String], expected: &[&str]) {
        assert_eq!(seen, expected);
    }

    /// Nobody, then each family, sees what is theirs, by the connection that was used before.
    async fn nothing_stays(&self) {
        Self::check(&self.sees(None).await, &[]);
        Self::check(&self.sees(Some(&self.joneses)).await, &["Jones"]);
        Self::check(&self.sees(Some(&self.smiths)).await, &["Smith"]);
        Self::check(&self.sees(None).await, &[]);
    }

    async fn begin(&self, who: Option<&Arc<Principal>>, mode: u32) -> Session {
        in_name_of(who, || self.db.session(mode)).await.unwrap()
    }
}

async fn modelled() -> TestDatabase {
    Scratch::shared()
        .database_from("modelled", async |config| {
            let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            let owners = [Owner::host(), Owner::shared()];
            Migrator::new(client, Options::default())
                .up(&owners)
                .await
                .unwrap();
        })
        .await
}

fn right(table: &str) -> TableGrant {
    let rights = ["select", "insert", "update", "delete"].map(str::to_owned);
    TableGrant {
        table: table.to_owned(),
        rights: rights.to_vec(),
    }
}

fn owner(user: Uuid, family: Uuid) -> Arc<Principal> {
    Arc::new(Principal {
        kind: Kind::User,
        subject: user.to_string().into(),
        user_id: Some(user),
        session_id: None,
        epoch: 0,
        member_id: None,
        family_id: Some(family),
        device_id: None,
        role: Some(Role::Owner),
        family_ids: vec![family],
        scopes: vec![],
        aal: 1,
        elevated: false,
        expires_at: None,
    })
}

fn no_params() -> Bytes {
    Bytes::from(vec![])
}

/// As the host polls a plugin: what it asks is asked within the poll.
async fn in_name_of<F: Future>(who: Option<&Arc<Principal>>, ask: impl FnOnce() -> F) -> F::Output {
    caller::scope(who.cloned(), async { ask().await }).await
}

fn names(rows: &Rows) -> Vec<String> {
    let cells = (0..rows.len()).filter_map(|row| rows.cell(row, 0));
    cells
        .map(|cell| String::from_utf8_lossy(cell).into_owned())
        .collect()
}

fn sqlstate(error: &Error) -> String {
    error.cause.to_text()
}

#[tokio::test]
async fn a_single_statement_is_in_the_name_of_its_request_alone() {
    let world = World::new(Families::Active).await;
    for _ in 0..3 {
        world.nothing_stays().await;
    }
}

#[tokio::test]
async fn a_transaction_is_in_the_name_of_its_request_alone() {
    let world = World::new(Families::Active).await;
    for (who, expected) in [(&world.smiths, "Smith"), (&world.joneses, "Jones")] {
        for mode in [
            mode::TRANSACTION,
            mode::SERIALIZABLE,
            mode::READ_ONLY,
            mode::PLAIN,
        ] {
            for commit in [1, 0] {
                let session = world.begin(Some(who), mode).await;
                let rows = session.query(NAMES.into(), no_params()).await.unwrap();
                World::check(&names(&rows), &[expected]);
                let sql =
                    "select nself.current_role() || ' ' || (nself.current_user_id() is not null)";
                let rows = session.query(sql.into(), no_params()).await.unwrap();
                World::check(&names(&rows), &["OWNER true"]);
                session.finish(commit).await.unwrap();
                World::check(&world.sees(None).await, &[]);
            }
        }
    }
    let session = world.begin(None, mode::TRANSACTION).await;
    let rows = session.query(NAMES.into(), no_params()).await.unwrap();
    World::check(&names(&rows), &[]);
    session.finish(1).await.unwrap();
}

#[tokio::test]
async fn a_request_that_is_dropped_at_any_moment_leaves_nothing_behind() {
    let world = World::new(Families::Active).await;
    for polls in 0..8 {
        let mut asking = Box::pin(in_name_of(Some(&world.smiths), || {
            world.db.query(NAMES.into(), no_params())
        }));
        let _ = poll_times(&mut asking, polls).await;
        drop(asking);
        world.nothing_stays().await;
    }
}

#[tokio::test]
async fn a_transaction_that_is_dropped_at_any_moment_of_its_begin_or_end_leaves_nothing_behind() {
    let world = World::new(Families::Active).await;
    for polls in 0..6 {
        let mut beginning = Box::pin(in_name_of(Some(&world.smiths), || {
            world.db.session(mode::TRANSACTION)
        }));
        let _ = poll_times(&mut beginning, polls).await;
        drop(beginning);
        world.nothing_stays().await;

        let session = world.begin(Some(&world.smiths), mode::TRANSACTION).await;
        let sql = format!("update public.devices set name = 'polled {polls} times'");
        session
            .execute(sql.as_str().into(), no_params())
            .await
            .unwrap();
        let mut ending = Box::pin(session.finish(1));
        let is_over = poll_times(&mut ending, polls).await;
        drop(ending);
        drop(session);
        // Whichever it was, it is over: what was committed is there, and by a statement of its own the name goes back.
        let seen = world.sees(Some(&world.smiths)).await;
        assert!(
            !is_over || seen == [format!("polled {polls} times")],
            "{seen:?}"
        );
        let sql = "update public.devices set name = 'Smith'";
        let changed = in_name_of(Some(&world.smiths), || {
            world.db.execute(sql.into(), no_params())
        });
        assert_eq!(changed.await.unwrap(), 1);
        world.nothing_stays().await;
    }
}

/// Polls as often as that, or until it is done; whether it is.
async fn poll_times<F: Future + Unpin>(future: &mut F, times: usize) -> bool {
    for _ in 0..times {
        if poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_ready())).await {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

#[tokio::test]
async fn a_handler_that_panics_in_its_transaction_leaves_nothing_behind() {
    let world = World::new(Families::Active).await;
    let (db, smiths) = (Arc::clone(&world.db), Arc::clone(&world.smiths));
    let handler = tokio::spawn(caller::scope(Some(smiths), async move {
        let session = db.session(mode::TRANSACTION).await.unwrap();
        let rows = session.query(NAMES.into(), no_params()).await.unwrap();
        panic!("it saw {:?}", names(&rows));
    }));
    assert!(handler.await.expect_err("it panicked").is_panic());
    world.nothing_stays().await;
}

#[tokio::test]
async fn a_statement_that_fails_leaves_nothing_behind() {
    let world = World::new(Families::Active).await;
    let sql = "select 1 / (id - id) from (select 0 as id) as z";
    for _ in 0..2 {
        let failed = in_name_of(Some(&world.smiths), || {
            world.db.query(sql.into(), no_params())
        })
        .await;
        assert!(sqlstate(&failed.err().expect("nobody divides by zero")).contains("22012"));
        world.nothing_stays().await;
    }
}

#[tokio::test]
async fn a_rule_that_is_looked_at_when_the_statement_ends_is_still_told() {
    let world = World::new(Families::Active).await;
    // The last owner of the family: refused at the commit, which the plugin did not ask for.
    let sql = "delete from public.family_members";
    let failed = in_name_of(Some(&world.smiths), || {
        world.db.execute(sql.into(), no_params())
    })
    .await;
    let failed = failed.expect_err("a family needs an owner");
    assert!(sqlstate(&failed).contains("23514"), "{}", sqlstate(&failed));
    let sql = "select count(*) from public.family_members where role = 'OWNER'";
    let client = world.database.client().await;
    let owners: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(owners, 2);
    world.nothing_stays().await;
}

#[tokio::test]
async fn a_wrong_statement_changes_nothing_of_another_family() {
    let world = World::new(Families::Active).await;
    let sql = "update public.devices set name = 'taken'";
    let changed = in_name_of(Some(&world.smiths), || {
        world.db.execute(sql.into(), no_params())
    })
    .await;
    assert_eq!(changed.unwrap(), 1);
    World::check(&world.sees(Some(&world.joneses)).await, &["Jones"]);
    let theirs = world.joneses.family_id.unwrap();
    let sql = format!("insert into public.devices (family_id, name) values ('{theirs}', 'x')");
    let failed = in_name_of(Some(&world.smiths), || {
        world.db.execute(sql.as_str().into(), no_params())
    });
    let failed = failed.await.expect_err("the row is another family's");
    assert!(sqlstate(&failed).contains("42501"), "{}", sqlstate(&failed));
}

#[tokio::test]
async fn work_beside_requests_has_no_family_also_when_a_request_began_it() {
    let world = World::new(Families::Active).await;
    let db = Arc::clone(&world.db);
    let begun = in_name_of(Some(&world.smiths), || {
        ready(tokio::spawn(async move {
            db.query(NAMES.into(), no_params()).await
        }))
    });
    let seen = begun.await.await.expect("it ends").expect("it is answered");
    World::check(&names(&seen), &[]);
}

#[tokio::test]
async fn a_plugin_that_was_granted_every_family_sees_them_with_and_without_a_request() {
    let world = World::new(Families::All).await;
    World::check(&world.sees(None).await, &["Jones", "Smith"]);
    World::check(&world.sees(Some(&world.smiths)).await, &["Jones", "Smith"]);
    // Taken back, it sees what others see; it is asked anew with every query.
    let client = world.database.client().await;
    let sql = "update nself.plugins set granted = granted - 'families'";
    client.execute(sql, &[]).await.unwrap();
    World::check(&world.sees(None).await, &[]);
    let session = world.begin(Some(&world.smiths), mode::TRANSACTION).await;
    let rows = session.query(NAMES.into(), no_params()).await.unwrap();
    World::check(&names(&rows), &["Smith"]);
    session.finish(1).await.unwrap();
}

//! What is an archive worth: it is restored, and everything is there.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt, path::Path, process::Stdio};

use nself_plugin_testkit::{TestHost, postgres_program, within};
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::{Programs, backup, folder, with};
use crate::stage::{submit, until_count};

/// Data as a project has it: rows that refer to others, large values, a partition, a sequence that stands somewhere.
const SHOP: &str = "
    create schema shop;
    create table shop.customers (id integer primary key, name text not null);
    create table shop.orders (
        id bigint generated always as identity, customer integer not null references shop.customers, at date not null, note text,
        primary key (id, at)
    ) partition by range (at);
    create table shop.orders_2030 partition of shop.orders for values from ('2030-01-01') to ('2031-01-01');
    create table shop.visits (id integer primary key);
    create schema scrap;
    create table scrap.heap (id integer primary key);
    insert into shop.customers select n, 'Ada ' || n from generate_series(1, 100) n;
    insert into shop.orders (customer, at, note)
        select n % 100 + 1, date '2030-01-01' + n % 300, repeat(md5(n::text), 20) from generate_series(1, 5000) n;
    insert into shop.visits select generate_series(1, 1000);
    insert into scrap.heap select generate_series(1, 10);
";

/// Rows of every table that nobody writes to while a job ends.
async fn rows(sql: &Client) -> BTreeMap<String, i64> {
    let tables = sql
        .query(
            "select format('%I.%I', schemaname, tablename) from pg_tables \
             where schemaname in ('public', 'shop', 'scrap') or (schemaname = 'nself' and tablename = 'migrations')",
            &[],
        )
        .await
        .expect("the tables are listed");
    let mut rows = BTreeMap::new();
    for table in tables {
        let name: String = table.get(0);
        let count = format!("select count(*) from {name}");
        let counted = sql.query_one(&count, &[]);
        rows.insert(name, counted.await.expect("rows can be counted").get(0));
    }
    rows
}

/// Restores an archive into a new, empty database, and connects to it.
async fn restored(host: &TestHost, archive: &Path) -> (Client, String) {
    let database = host.database();
    let name = format!("{}_restored", database.name());
    let sql = host.sql().await;
    sql.batch_execute(&format!("create database {name} template template0"))
        .await
        .expect("an empty database");
    let url = url_of(host, &name);
    let restoring = tokio::process::Command::new(postgres_program("pg_restore"))
        .args(["--exit-on-error", "--dbname", &url])
        .arg(archive)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let done = within("restoring", restoring).await.expect("it runs");
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{told}");
    let mut config = database.config();
    config.dbname(&name);
    let (client, connection) = config
        .connect(tokio_postgres::NoTls)
        .await
        .expect("it is there");
    tokio::spawn(connection);
    (client, name)
}

fn url_of(host: &TestHost, name: &str) -> String {
    let url = host.database().url();
    format!("{}/{name}", url.rsplit_once('/').expect("a database").0)
}

async fn drop_database(sql: &Client, name: &str) {
    sql.batch_execute(&format!("drop database {name} with (force)"))
        .await
        .expect("it is dropped");
}

#[tokio::test]
async fn an_archive_restores_into_an_empty_database_with_all_that_there_was() {
    let (archives, programs) = (folder(), Programs::real());
    let host = with(&programs, archives.path()).start().await;
    let sql = host.sql().await;
    sql.batch_execute(SHOP).await.expect("a shop");
    let made = backup(&host, json!({})).await;
    let archive = archives.path().join(made["file"].as_str().expect("a name"));
    let length = archive.metadata().expect("it is there").len();
    assert_eq!(made["bytes"], length);
    assert_eq!(made["sha256"].as_str().map(str::len), Some(64));
    let mode = archive
        .metadata()
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let (copy, name) = restored(&host, &archive).await;
    let (before, after) = (rows(&sql).await, rows(&copy).await);
    assert_eq!(before, after);
    assert_eq!(before["shop.orders"], 5_000);
    // The sequence goes on, and the border holds.
    let order = "insert into shop.orders (customer, at) values ($1, '2030-06-01') returning id";
    let next = copy.query_one(order, &[&1_i32]).await.expect("an order");
    assert_eq!(next.get::<_, i64>(0), 5_001);
    assert!(copy.query_one(order, &[&101_i32]).await.is_err());
    // The job that made it was running then.
    let running = "select count(*) from jobs.leases where 'jobs.db_backup' = any (kinds)";
    let running: i64 = copy.query_one(running, &[]).await.expect("leases").get(0);
    assert_eq!(running, 1);

    // A host works on it.
    let url = url_of(&host, &name);
    let other = host.process_beside().database_url(&url).start().await;
    let id = submit(&copy, "fixture-caller.tell", json!({}), json!({})).await;
    let done = format!("select count(*) from jobs.finished where id = {id}");
    until_count(&copy, &done, 1).await;
    other.kill().await;
    drop(copy);
    drop_database(&sql, &name).await;
    host.stop().await;
}

#[tokio::test]
async fn what_is_left_out_is_not_in_the_archive() {
    let (archives, programs) = (folder(), Programs::real());
    let host = with(&programs, archives.path()).start().await;
    let sql = host.sql().await;
    sql.batch_execute(SHOP).await.expect("a shop");
    let payload =
        json!({"without_schemas": ["scrap"], "without_rows": ["shop.visits", "jobs.finished*"]});
    let made: Value = backup(&host, payload).await;
    let archive = archives.path().join(made["file"].as_str().expect("a name"));
    let (copy, name) = restored(&host, &archive).await;
    let rows = rows(&copy).await;
    assert_eq!(rows.get("scrap.heap"), None);
    assert_eq!((rows["shop.visits"], rows["shop.orders"]), (0, 5_000));
    drop(copy);
    drop_database(&sql, &name).await;
    host.stop().await;
}

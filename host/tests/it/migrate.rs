//! Migrations: what they promise when files, locks, runners and the database misbehave.

mod audit;
mod concurrently;
pub(crate) mod functions;
mod kills;
mod locks;
mod refusals;
mod steps;

use nself::migrate::{Migrator, Options, Owner};
use nself::plugin::manifest::Migration;
use nself::postgres::scratch::{Scratch, TestDatabase};
use tokio_postgres::Client;

pub(crate) async fn database() -> TestDatabase {
    Scratch::shared().database().await
}

/// A database with the host's own schema.
pub(crate) async fn migrated() -> TestDatabase {
    Scratch::shared()
        .database_from("migrated", async |config| {
            let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            Migrator::new(client, Options::default())
                .up(&[Owner::host()])
                .await
                .unwrap();
        })
        .await
}

async fn migrator(database: &TestDatabase) -> Migrator {
    Migrator::new(database.client().await, Options::default())
}

fn step(number: u32, up: &str, down: &str) -> Migration {
    Migration {
        number,
        name: format!("step{number}"),
        up: up.to_owned(),
        down: down.to_owned(),
    }
}

/// A plugin `notes` with one table per step.
fn notes(steps: u32) -> Owner {
    let table = |n| {
        step(
            n,
            &format!("CREATE TABLE t{n} (id int);"),
            &format!("DROP TABLE t{n};"),
        )
    };
    Owner::plugin("notes", (1..=steps).map(table).collect())
}

async fn tables(client: &Client, schema: &str) -> Vec<String> {
    let sql = "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = to_regnamespace($1) ORDER BY 1";
    client
        .query(sql, &[&schema])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
}

async fn recorded(client: &Client, owner: &str) -> Vec<i32> {
    let sql = "SELECT number FROM nself.migrations WHERE owner = $1 AND applied_at IS NOT NULL ORDER BY number";
    client
        .query(sql, &[&owner])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
}

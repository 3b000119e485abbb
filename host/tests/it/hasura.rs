//! Hasura's metadata: what is built from the policy and the live schema, what `check` finds, and what an engine is told.

mod apply;
mod faults;
mod golden;
mod isolation;
mod matrix;

use std::{collections::BTreeSet, path::Path};

use nself::{
    hasura::{build, catalog::Catalog, fragment::Fragment},
    migrate::{Migrator, Options, Owner},
    plugin::manifest::Migration,
    policy::Policy,
    postgres::scratch::{Scratch, TestDatabase},
};
use serde_json::Value;

/// A database with the shared model and the tables of the plugins that bring metadata along.
async fn database() -> TestDatabase {
    Scratch::shared()
        .database_from("tracked", async |config| {
            let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            let mut owners = vec![Owner::host(), Owner::shared()];
            let plugins: BTreeSet<String> = fragments()
                .into_iter()
                .map(|fragment| fragment.plugin)
                .collect();
            for plugin in plugins {
                let sql = format!("CREATE SCHEMA {plugin}");
                client.batch_execute(&sql).await.unwrap();
                let steps = steps(&checkout().join("plugins").join(&plugin).join("migrations"));
                owners.push(Owner::plugin(&plugin, steps));
            }
            Migrator::new(client, Options::default())
                .up(&owners)
                .await
                .unwrap();
        })
        .await
}

fn checkout() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Of every plugin of this repository.
fn fragments() -> Vec<Fragment> {
    let mut fragments = vec![];
    for plugin in names(&checkout().join("plugins")) {
        let directory = checkout().join("plugins").join(&plugin).join("hasura");
        for name in names(&directory) {
            let yaml = std::fs::read_to_string(directory.join(&name)).unwrap();
            fragments.push(Fragment::read(&plugin, &name, &yaml).unwrap());
        }
    }
    fragments
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return vec![];
    };
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn steps(directory: &Path) -> Vec<Migration> {
    let names = names(directory);
    let ups = names.iter().filter_map(|name| name.strip_suffix(".up.sql"));
    let step = |stem: &str| {
        let read = |way: &str| {
            std::fs::read_to_string(directory.join(format!("{stem}.{way}.sql"))).unwrap()
        };
        let (number, name) = stem.split_once('_').unwrap();
        Migration {
            number: number.parse().unwrap(),
            name: name.to_owned(),
            up: read("up"),
            down: read("down"),
        }
    };
    ups.map(step).collect()
}

async fn catalog() -> Catalog {
    let database = database().await;
    Catalog::read(&database.client().await).await.unwrap()
}

/// The document of this repository.
fn built(catalog: &Catalog) -> Value {
    build::build(Policy::embedded(), catalog, &fragments())
}

//! Hasura's metadata: what is built from the policy, the live schema and the plugins of this repository, what `check` finds, and
//! what an engine is told.

mod apply;
mod faults;
mod golden;
mod isolation;
mod kept;
mod matrix;

use std::{path::Path, sync::LazyLock};

use nself::{
    hasura::{brought::Brought, build, catalog::Catalog},
    loader::{self, Host, System, Trust},
    migrate::{Migrator, Options, Owner},
    plugin::manifest::Manifest,
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
            for plugin in manifests().iter().filter(|one| !one.hasura.is_empty()) {
                let sql = format!("CREATE SCHEMA {}", plugin.id);
                client.batch_execute(&sql).await.unwrap();
                owners.push(Owner::plugin(&plugin.id, plugin.migrations.clone()));
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

/// What every plugin of this repository declares, read from its built file. Nothing of it runs.
fn manifests() -> &'static [Manifest] {
    static MANIFESTS: LazyLock<Vec<Manifest>> = LazyLock::new(|| {
        let plugins = std::fs::read_dir(checkout().join("plugins")).unwrap();
        let ids = plugins.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        let mut ids: Vec<String> = ids.collect();
        ids.sort();
        ids.iter().map(|id| manifest(id)).collect()
    });
    &MANIFESTS
}

fn manifest(plugin: &str) -> Manifest {
    let test = std::env::current_exe().unwrap();
    let name = format!("libnself_plugin_{plugin}.so");
    // Where this test stands: target/debug/deps.
    let path = test.ancestors().nth(2).unwrap().join(&name);
    assert!(
        path.exists(),
        "{name} is not there: cargo build -p nself-plugin-{plugin}"
    );
    let system = System::detect();
    let checked = loader::check(&path, &Host::this(&system, Trust::NONE));
    checked
        .unwrap_or_else(|refusal| panic!("{refusal}"))
        .manifest
}

fn brought() -> &'static Brought {
    static BROUGHT: LazyLock<Brought> =
        LazyLock::new(|| Brought::by(manifests(), Policy::embedded()).unwrap());
    &BROUGHT
}

async fn catalog() -> Catalog {
    let database = database().await;
    Catalog::read(&database.client().await).await.unwrap()
}

/// The document of this repository.
fn built(catalog: &Catalog) -> Value {
    build::build(Policy::embedded(), catalog, brought(), None)
}

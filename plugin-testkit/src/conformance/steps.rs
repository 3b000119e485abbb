//! Migrations: all declared, and passable in both directions.

use std::{collections::BTreeMap, fs};

use nself::migrate::{Migrator, Options, Owner};
use tokio_postgres::Client;

use super::Conformance;

impl Conformance {
    /// Every file in `migrations/` is a step of the manifest, with the text that it has now.
    ///
    /// # Panics
    ///
    /// With the first file that is not.
    pub fn every_step_of_the_folder_is_declared(&self) {
        let steps = &self.library.manifest.migrations;
        let mut declared = BTreeMap::new();
        for step in steps {
            let stem = format!("{:04}_{}", step.number, step.name);
            declared.insert(format!("{stem}.up.sql"), &step.up);
            declared.insert(format!("{stem}.down.sql"), &step.down);
        }
        for entry in fs::read_dir(self.folder.join("migrations"))
            .into_iter()
            .flatten()
        {
            let path = entry.expect("the folder can be listed").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let text = fs::read_to_string(&path).expect("a step is text");
            let known = declared.get(&name);
            assert!(
                known.is_some(),
                "migrations/{name} is not among the plugin's MIGRATIONS"
            );
            assert_eq!(
                known,
                Some(&&text),
                "{name}: the built plugin has an older text"
            );
        }
    }

    /// All steps can be taken back, leave nothing behind then, and can be applied again; the plugin runs on the result.
    ///
    /// # Panics
    ///
    /// With the first step that is not so.
    pub async fn migrations_go_up_down_and_up_again(&self) {
        let manifest = &self.library.manifest;
        let host = self.start().await;
        let disabled = host.registry().disable(self.id(), crate::LIMIT, true).await;
        disabled.unwrap_or_else(|error| panic!("{error}"));
        let sql = host.sql().await;
        let before = objects(&sql, self.id()).await;
        let owner = Owner::plugin(self.id(), manifest.migrations.clone());
        let mut migrator = Migrator::new(host.sql().await, Options::default());
        let down = migrator.down(&owner, manifest.migrations.len()).await;
        down.unwrap_or_else(|error| panic!("down: {error}"));
        let left = objects(&sql, self.id()).await;
        assert!(left.is_empty(), "taken back, but still there: {left:?}");
        let up = migrator.up(&[owner]).await;
        up.unwrap_or_else(|error| panic!("up again: {error}"));
        assert_eq!(
            objects(&sql, self.id()).await,
            before,
            "the second time it came out another"
        );
        drop((migrator, sql));
        let enabled = host.registry().enable(self.id()).await;
        enabled.unwrap_or_else(|error| panic!("{error}"));
        self.finish(host).await;
    }
}

/// Everything in the plugin's schema.
async fn objects(client: &Client, schema: &str) -> Vec<String> {
    let sql = "select 'relation ' || relname from pg_class where relnamespace = to_regnamespace(quote_ident($1))
        union all select 'function ' || proname from pg_proc where pronamespace = to_regnamespace(quote_ident($1))
        union all select 'type ' || typname from pg_type where typnamespace = to_regnamespace(quote_ident($1))
        order by 1";
    let rows = client.query(sql, &[&schema]).await;
    let rows = rows.expect("the catalogue can be read");
    rows.iter().map(|row| row.get(0)).collect()
}

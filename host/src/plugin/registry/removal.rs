//! Forgetting a plugin, with or without its data.

use std::{fs, path::PathBuf};

use tokio_postgres::Client;

use super::{ChangeError, Inner, Registry, offered::remove_if_there};
use crate::{
    audit,
    loader::signature_of,
    migrate::{MigrateError, wipe_plugin},
    plugin::{
        lock::LockRefusal,
        manifest::{Manifest, TableGrant},
        order::{Candidate, dependents_of},
    },
    postgres::roles,
};

/// What becomes of a removed plugin's schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// It stays, for the day on which the plugin comes back.
    Keep,
    /// It is dropped with everything in it.
    Drop,
}

impl Registry {
    /// Forgets a plugin that does not run: its database login, its cursors, its file, its place in the lock; its schema
    /// too, if that is asked for.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Runs`] when it does, [`ChangeError::DataNeeded`] when an enabled plugin stands on the data. Another
    /// failure leaves it listed, so that it can be removed again.
    pub async fn remove(&self, id: &str, data: Data) -> Result<(), ChangeError> {
        let mut inner = self.state.lock().await;
        if inner.running(id).is_some() {
            return Err(ChangeError::Runs(id.to_owned()));
        }
        let file = self.file(id);
        if file.is_err() && !inner.lock.plugins.contains_key(id) {
            return Err(LockRefusal::Unknown { id: id.to_owned() }.into());
        }
        if data == Data::Drop {
            let dependents = self.data_needed_by(&inner, id);
            if !dependents.is_empty() {
                let id = id.to_owned();
                return Err(ChangeError::DataNeeded { id, dependents });
            }
        }
        self.forget_in_database(id, data).await?;
        if let Ok(checked) = file {
            let path = checked.path.display().to_string();
            fs::remove_file(&checked.path)
                .and_then(|()| remove_if_there(&signature_of(&checked.path)))
                .map_err(|source| ChangeError::Remove { path, source })?;
        }
        let mut lock = inner.lock.clone();
        lock.plugins.remove(id);
        lock.write(&self.lock_file)?;
        inner.lock = lock;
        inner.refused.remove(id);
        inner.quarantined.remove(id);
        inner.waiting.remove(id);
        self.provide(&inner.running, &inner.lock);
        self.refresh(&inner);
        Ok(())
    }

    /// Enabled plugins, running or not, that depend on this one or may reach its tables.
    fn data_needed_by(&self, inner: &Inner, id: &str) -> Vec<String> {
        let mut manifests: Vec<(Manifest, PathBuf)> = Vec::new();
        for (other, locked) in &inner.lock.plugins {
            if other == id || locked.enabled {
                let kept = self.stored(other, &locked.version, &locked.sha256);
                manifests.extend(kept.map(|kept| (kept.manifest.clone(), kept.path.clone())));
            }
        }
        let candidates: Vec<Candidate<'_>> = manifests
            .iter()
            .map(|(manifest, file)| Candidate { manifest, file })
            .collect();
        let mut needed_by = dependents_of(id, &candidates);
        let its_tables = format!("{id}.");
        for (manifest, _) in &manifests {
            let reaches = |grant: &TableGrant| grant.table.starts_with(&its_tables);
            let is_other = manifest.id != id && !needed_by.contains(&manifest.id);
            if is_other && manifest.requires.tables.iter().any(reaches) {
                needed_by.push(manifest.id.clone());
            }
        }
        needed_by
    }

    /// Takes the plugin's login away, and its cursors, which would keep old events from being pruned for ever.
    async fn forget_in_database(&self, id: &str, data: Data) -> Result<(), ChangeError> {
        let services = &self.settings.services;
        let (mut client, connection) = services.target.connect().await?;
        tokio::spawn(connection);
        if data == Data::Drop {
            drop_data(&mut client, id).await.map_err(Box::new)?;
        }
        roles::remove(&mut client, id).await?;
        let prefix = format!("{id}/");
        let cursors =
            "select subscriber from nself.event_cursors where starts_with(subscriber, $1)";
        for row in client.query(cursors, &[&prefix]).await? {
            services.events.forget(row.get(0)).await?;
        }
        client
            .execute("delete from nself.plugins where id = $1", &[&id])
            .await?;
        Ok(())
    }
}

/// Drops the schema, and says so in the audit log, or neither.
async fn drop_data(client: &mut Client, id: &str) -> Result<(), MigrateError> {
    let failed = |source| MigrateError::Database {
        doing: format!("drop the data of {id}"),
        source,
    };
    let transaction = client.transaction().await.map_err(failed)?;
    wipe_plugin(&transaction, id).await?;
    let entry = audit::Entry::new("plugin.data_dropped", id);
    audit::append(&transaction, &entry).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

//! What the database keeps of the plugins: who runs, and in the same transaction the entry of the audit log that says so.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_postgres::types::ToSql;
use tracing::warn;

use super::{ChangeError, Registry};
use crate::{
    audit::{self, Entry},
    capability::process::Allowed,
    plugin::{instance::Running, manifest::Manifest},
};

const UPSERT: &str = "insert into nself.plugins (id, version, sha256, state, enabled, granted) \
     values ($1, $2, $3, $4, $5, $6) on conflict (id) do update set version = excluded.version, \
     sha256 = excluded.sha256, state = excluded.state, enabled = excluded.enabled, \
     granted = excluded.granted, updated_at = clock_timestamp()";

impl Registry {
    /// Stores what is accepted, where `nself.emit_event` and other hosts look.
    pub(super) async fn record(
        &self,
        manifest: &Manifest,
        sha256: &str,
        state: &str,
        enabled: bool,
    ) {
        let stored = self.store(manifest, sha256, state, enabled, None).await;
        if let Err(failure) = stored {
            warn!(
                plugin = manifest.id,
                error = failure,
                "cannot store the plugin's state"
            );
        }
    }

    /// Stores that it runs: at the host's start, or after all because the version beside it did not come up.
    pub(super) async fn record_running(&self, running: &Running) {
        let sha256 = running.sha256().to_string();
        self.record(running.manifest(), &sha256, "started", true)
            .await;
    }

    /// Stores that it runs, and who will want to know why. Without the entry it shall not run: it is ended.
    pub(super) async fn record_deed(
        &self,
        deed: &str,
        running: &Running,
    ) -> Result<(), ChangeError> {
        let sha256 = running.sha256().to_string();
        let entry = self.entry(deed, running);
        let stored = self
            .store(running.manifest(), &sha256, "started", true, Some(&entry))
            .await;
        if let Err(failure) = stored {
            running.end(Duration::ZERO).await;
            self.record(running.manifest(), &sha256, "failed", false)
                .await;
            return Err(ChangeError::Audit(failure));
        }
        Ok(())
    }

    /// Stores that it does not run any more. It has ended already, and must be able to without a database.
    pub(super) async fn record_end(&self, deed: &str, running: &Running, state: &str) {
        let sha256 = running.sha256().to_string();
        let entry = self.entry(deed, running);
        let stored = self
            .store(running.manifest(), &sha256, state, false, Some(&entry))
            .await;
        if let Err(failure) = stored {
            warn!(
                action = deed,
                error = failure,
                "cannot append to the audit log"
            );
        }
    }

    /// Appends an entry about a plugin that does not run, if the database can.
    pub(super) async fn note(&self, deed: &str, id: &str, details: Value) {
        if let Err(failure) = self.append(deed, id, details).await {
            warn!(action = deed, "{failure}");
        }
    }

    /// Appends an entry about a plugin.
    pub(super) async fn append(
        &self,
        deed: &str,
        id: &str,
        details: Value,
    ) -> Result<(), ChangeError> {
        let mut entry = Entry::new(deed, id);
        entry.details = details;
        let appended = async {
            let client = self.settings.services.pool.get().await;
            let client = client.map_err(|error| error.to_string())?;
            let id = audit::append(&**client, &entry).await;
            id.map_err(|error| error.to_string())
        };
        appended.await.map(drop).map_err(ChangeError::Audit)
    }

    fn entry(&self, deed: &str, running: &Running) -> Entry {
        let mut entry = Entry::new(deed, running.id());
        entry.details = json!({
            "version": running.manifest().version, "sha256": running.sha256().to_string(),
        });
        // Who reads the log wants to know what it could do on the machine.
        let allowed = self.settings.services.run_allowed.get(running.id());
        let words = allowed.map(Allowed::words);
        if let Some(words) = words.filter(|words| !words.is_empty()) {
            entry.details["run"] = json!(words);
        }
        entry
    }

    /// The row and the entry, both or neither.
    async fn store(
        &self,
        manifest: &Manifest,
        sha256: &str,
        state: &str,
        enabled: bool,
        entry: Option<&Entry>,
    ) -> Result<(), String> {
        let granted = serde_json::to_value(&manifest.requires).unwrap_or_default();
        let version = manifest.version.to_string();
        let mut client = self
            .settings
            .services
            .pool
            .get()
            .await
            .map_err(|error| error.to_string())?;
        let stored = async {
            let transaction = client.transaction().await?;
            let row: [&(dyn ToSql + Sync); 6] =
                [&manifest.id, &version, &sha256, &state, &enabled, &granted];
            transaction.execute(UPSERT, &row).await?;
            if let Some(entry) = entry {
                let _ = audit::append(&*transaction, entry).await?;
            }
            transaction.commit().await
        };
        stored.await.map_err(|error| error.to_string())
    }
}

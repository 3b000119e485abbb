//! How old the newest backup is, on `/metrics`: what warns before it is needed.

use std::sync::Arc;

use crate::{
    backup::newest,
    config::Config,
    telemetry::{MetricError, Metrics},
};

/// Shows when the newest backup that stood its trial was begun. Nothing is shown of a database that is not ours.
pub(super) fn show(config: &Config, metrics: &Metrics) -> Result<(), MetricError> {
    if config.database.url.is_some() {
        return Ok(());
    }
    let config = Arc::new(config.clone());
    // Backups are made by the command line too, so each look is one at the directory: a file of some hundred bytes for each backup.
    let seconds = move || match newest(&config) {
        Ok(Some(record)) => record.from.as_duration().as_secs_f64(),
        Ok(None) => 0.0,
        Err(error) => {
            tracing::debug!(%error, "backups cannot be listed");
            0.0
        }
    };
    metrics.pulled(
        "nself_backup_last_success_timestamp_seconds",
        "When the newest base backup that was tried was made; 0 when there is none",
        seconds,
    )
}

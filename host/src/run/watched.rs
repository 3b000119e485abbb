//! What is shown on `/metrics` so that somebody is warned in time: the age of the newest backup, room on the disk.

use std::sync::Arc;

use crate::{
    backup::newest,
    config::Config,
    run::room,
    telemetry::{MetricError, Metrics},
};

/// Adds the gauges.
pub(super) fn show(config: &Config, metrics: &Metrics) -> Result<(), MetricError> {
    let state = config.state_directory();
    metrics.pulled(
        "nself_disk_free_bytes",
        "Room on the disk of the host's state and its database, whichever has less",
        move || room::least(&state).map_or(0.0, |(free, _)| mebibytes(free) * 1_048_576.0),
    )?;
    // Of a database that is not ours, whoever runs it has backups.
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

/// Whole ones, up to 4 PiB: what a float holds exactly.
fn mebibytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes >> 20).unwrap_or(u32::MAX))
}

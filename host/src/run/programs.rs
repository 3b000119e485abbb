//! Programs that plugins run: what the configuration says of them.

use std::{collections::BTreeMap, env, path::PathBuf, sync::Arc, time::Duration};

use tracing::info;

use super::RunError;
use crate::{
    capability::{
        clock::HostClock,
        process::{Allowed, Limits, Options, Programs},
    },
    config::Config,
};

/// What runs programs.
pub(super) fn open(config: &Config, clock: &Arc<dyn HostClock>) -> Arc<Programs> {
    let programs = &config.programs;
    let container = programs.container_program.as_ref();
    let limits = Limits {
        cpu_seconds: programs.cpu_seconds_max,
        memory_bytes: programs.memory_bytes_max,
        file_bytes: programs.file_bytes_max,
        files: programs.files_max,
        processes: programs.processes_max,
    };
    let options = Options {
        user: programs.user.clone(),
        path: programs.path.iter().map(PathBuf::from).collect(),
        container_program: container.map(|path| config.resolve(path)),
        place: env::temp_dir(),
        limits,
        time_max: Duration::from_secs(programs.seconds_max),
        output_bytes_max: programs.output_bytes_max,
        at_once_max: programs.at_once_max,
    };
    Arc::new(Programs::new(options, Arc::clone(clock)))
}

/// `[plugins.<id>.run]`.
///
/// # Errors
///
/// When a word of a list is none: the plugin would otherwise learn of it when it runs something.
pub(super) fn allowed(config: &Config) -> Result<BTreeMap<String, Allowed>, RunError> {
    let mut by_plugin = BTreeMap::new();
    for (id, plugin) in &config.plugins.by_id {
        let allowed = Allowed::parse(&plugin.run);
        let allowed = allowed.map_err(|source| RunError::Run {
            id: id.clone(),
            source,
        })?;
        if !allowed.words().is_empty() {
            info!(plugin = id, run = ?allowed.words(), "the plugin may run programs");
        }
        by_plugin.insert(id.clone(), allowed);
    }
    Ok(by_plugin)
}

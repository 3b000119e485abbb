//! Configuration: the cascade, its validation, and where each value came from.
//!
//! `nself.toml` < `.env.<environment>` < `.env.secrets` < `.env` < process environment. Every source becomes a list of
//! settings (path, value, origin); the last one of a path wins, [`KEYS`] says what may stand there, and only then
//! does serde build the [`Config`]. So each complaint can name the key, the file and the line.

mod cascade;
mod dotenv;
mod error;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod keys;
mod known_secret;
mod model;
mod origin;
mod plugin;
pub mod project;
mod reference;
mod secret;
pub mod secrets;
mod shown;
mod variables;

use std::path::{Path, PathBuf};

pub use error::ConfigError;
pub use keys::{KEYS, Key, Kind};
pub use model::{
    ApiKey, BackupBucket, Config, Database, Environment, Http, HttpAcme, HttpTls, Identity,
    Isolation, Log, LogFormat, PluginSettings, Plugins, Project, Redis, SEED_PORTS, SecretFiles,
    Shutdown, SignaturePolicy, Telemetry, TelemetryExporter, TracesSampler,
};
pub use origin::{Origin, Provenance};
pub use reference::reference;
pub use secret::Secret;
pub use shown::shown;
pub use variables::{Variables, process_variables};

/// One value as one source states it.
#[derive(Debug, Clone)]
struct Setting {
    path: Vec<String>,
    value: serde_json::Value,
    origin: Origin,
}

/// The name of the project's configuration file.
pub const FILE_NAME: &str = "nself.toml";

impl Config {
    /// Reads the project's sources and `variables` (the process environment, see [`process_variables`]).
    ///
    /// A missing file is an empty one: containers may state everything in the environment.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with its key, file and line: see [`ConfigError`].
    pub fn load(
        directory: &Path,
        variables: &Variables,
    ) -> Result<(Self, Provenance), ConfigError> {
        let settings = cascade::settings(directory, variables)?;
        let mut config: Self =
            serde_json::from_value(cascade::tree(&settings)).map_err(ConfigError::Shape)?;
        directory.clone_into(&mut config.directory);
        if config.project.name.is_empty() {
            config.project.name = project::name_of(directory);
        }
        known_secret::refuse(config.environment, &settings)?;
        let provenance = settings
            .into_iter()
            .map(|(path, setting)| (path, setting.origin))
            .collect();
        Ok((config, provenance))
    }

    /// `path` as the project means it: relative ones start at the project's directory.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    /// Where the host keeps what it makes: `.nself` in the project's directory.
    pub fn state_directory(&self) -> PathBuf {
        self.directory.join(project::STATE_DIRECTORY)
    }

    /// What a host in the background prints and logs, unless `log.file` says another place for its log.
    pub fn background_log(&self) -> PathBuf {
        self.state_directory().join("log").join("host.log")
    }

    /// Where plugins are dropped.
    pub fn plugins_directory(&self) -> PathBuf {
        self.resolve(&self.plugins.directory)
    }

    /// Where old months of the audit log go, from wherever the process stands.
    pub fn audit_directory(&self) -> PathBuf {
        self.resolve(&self.audit.directory)
    }

    /// The plugin's own port: as configured, else the seed's, else none. None at all when `http.plugin_ports` is off.
    pub fn plugin_port(&self, id: &str) -> Option<u16> {
        if !self.http.plugin_ports {
            return None;
        }
        let stated = self.plugins.by_id.get(id).and_then(|plugin| plugin.port);
        stated.or_else(|| {
            SEED_PORTS
                .iter()
                .find(|(seed, _)| *seed == id)
                .map(|(_, port)| *port)
        })
    }
}

//! The keys of `[plugins.orchestrator.config]`.

use std::fmt::Display;

use nself_plugin_api::Schema;
use serde::Deserialize;

use crate::engine::Limits;

/// The plugin's configuration.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Directory whose `*.yaml` and `*.json` files are definitions of workflows; a relative one starts at the project's. They are applied
    /// when the plugin starts, and by `nself workflow files apply`. When absent: `workflows` in the project's directory, if it is there.
    pub workflows_directory: Option<String>,
    /// Days that ended runs of workflows and commands of devices are kept to be looked at.
    #[schema(minimum = 1, maximum = 3_650)]
    pub history_days: u32,
    /// Minutes that an event is kept for listeners that come after it.
    #[schema(minimum = 1, maximum = 525_600)]
    pub event_minutes: u32,
    /// Rows of the history of one run; it fails with an error when it has more.
    #[schema(minimum = 10, maximum = 10_000_000)]
    pub history_max: u32,
    /// Bytes of the data that one run keeps; it fails with an error when it has more.
    #[schema(minimum = 1_024, maximum = 67_108_864)]
    pub state_bytes_max: u32,
    /// Branches of one run that are open at the same time.
    #[schema(minimum = 1, maximum = 100_000)]
    pub branches_max: u32,
    /// Runs of one family that have not ended.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub family_instances_max: u32,
    /// Commands of one device that may wait at a time.
    #[schema(minimum = 1, maximum = 10_000)]
    pub device_commands_max: u32,
    /// Seconds after which a command that a device fetched and said nothing of is handed out once more.
    #[schema(minimum = 1, maximum = 3_600)]
    pub device_redelivery_seconds: u32,
    /// How often a command is handed out before it has failed.
    #[schema(minimum = 1, maximum = 1_000)]
    pub device_deliveries_max: u32,
}

/// A limit as errors say it: whoever reads one knows which key to change.
pub(crate) fn setting(key: &str, value: impl Display) -> String {
    format!("{key} of [plugins.orchestrator.config], which is {value}")
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workflows_directory: None,
            history_days: 30,
            event_minutes: 1_440,
            history_max: 50_000,
            state_bytes_max: 8 << 20,
            branches_max: 1_000,
            family_instances_max: 1_000,
            device_commands_max: 100,
            device_redelivery_seconds: 30,
            device_deliveries_max: 10,
        }
    }
}

impl Config {
    /// What the engine may use.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            tasks_max: self.history_max.into(),
            branches_max: usize::try_from(self.branches_max).unwrap_or(usize::MAX),
            value_bytes_max: usize::try_from(self.state_bytes_max).unwrap_or(usize::MAX),
            ..Limits::default()
        }
    }
}

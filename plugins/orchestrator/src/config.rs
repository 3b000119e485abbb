//! The keys of `[plugins.orchestrator.config]`.

use nself_plugin_api::Schema;
use serde::Deserialize;

/// The plugin's configuration.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Days that ended commands of devices are kept to be looked at.
    #[schema(minimum = 1, maximum = 3_650)]
    pub history_days: u32,
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

impl Default for Config {
    fn default() -> Self {
        Self {
            history_days: 30,
            device_commands_max: 100,
            device_redelivery_seconds: 30,
            device_deliveries_max: 10,
        }
    }
}

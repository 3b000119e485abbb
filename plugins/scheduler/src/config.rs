//! The keys of `[plugins.scheduler.config]`, and what is read from the environment: the variables that Hasura's cron triggers name.

use nself_plugin_api::Schema;
use serde::Deserialize;

/// The plugin's configuration.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Directory whose `*.yaml` files define schedules. They are applied when the plugin starts, and by `nself scheduler apply`.
    pub schedules_directory: Option<String>,
    /// A `cron_triggers.yaml` as Hasura's CLI writes it, served as it is.
    pub hasura_cron_triggers: Option<String>,
    /// Variables of the environment that one-off events over HTTP may name in their webhook and headers. Triggers of the file may
    /// name any but the host's own (`NSELF_*`, `DATABASE_URL`), which have to stand here.
    pub hasura_variables: Vec<String>,
    /// Days that fires are kept to be looked at.
    #[schema(minimum = 1, maximum = 3_650)]
    pub history_days: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            schedules_directory: None,
            hasura_cron_triggers: None,
            hasura_variables: Vec::new(),
            history_days: 7,
        }
    }
}

/// A variable of the host's environment.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

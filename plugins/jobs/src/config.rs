//! The keys of `[plugins.jobs.config]`.

use nself_plugin_api::Schema;
use serde::Deserialize;

/// The plugin's configuration.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Jobs that run at a time on this host, those of all queues.
    #[schema(minimum = 1, maximum = 10_000)]
    pub jobs_at_once: u32,
    /// Days that completed and cancelled jobs are kept.
    #[schema(minimum = 1, maximum = 3_650)]
    pub finished_days: u32,
    /// Days that discarded jobs are kept, in which they can be looked at and tried again.
    #[schema(minimum = 1, maximum = 3_650)]
    pub discarded_days: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            jobs_at_once: 100,
            finished_days: 7,
            discarded_days: 30,
        }
    }
}

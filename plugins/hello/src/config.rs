//! The keys of `[plugins.hello.config]`.

use nself_plugin_api::Schema;
use serde::Deserialize;

/// The plugin's configuration.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Days that a removed note is kept before it is gone for good.
    #[schema(minimum = 1, maximum = 3650)]
    pub keep_removed_days: u32,
    /// Notes on one page.
    #[schema(minimum = 1, maximum = 200)]
    pub page_size: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keep_removed_days: 30,
            page_size: 50,
        }
    }
}

//! The keys of `[plugins.stream.config.media]`.

use nself_plugin_api::Schema;
use serde::Deserialize;

/// How media are played, and by how many at a time.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where media are played from, with `{content}` where the id of the content stands in the path: an address of a media
    /// origin, or a path on the origin that the player is on.
    #[schema(min_length = 10, max_length = 1000)]
    pub playback_url: String,
    /// Seconds that a signed address is good. Each heartbeat brings a new one.
    #[schema(minimum = 1, maximum = 300)]
    pub playback_seconds: u32,
    /// Days after which another key signs addresses; 0 for never by itself.
    #[schema(minimum = 0, maximum = 3_650)]
    pub key_days: u32,
    /// Sessions of a person, or of a machine by itself. A guardian may set less for a child (`parental_controls.streams_max`).
    #[schema(minimum = 0, maximum = 1_000)]
    pub sessions_per_user: u32,
    /// Sessions of a family, where its operator has set nothing else (`family_quotas.streams_max`).
    #[schema(minimum = 0, maximum = 10_000)]
    pub sessions_per_family: u32,
    /// Sessions of a family that play the same; 0 is no limit.
    #[schema(minimum = 0, maximum = 10_000)]
    pub sessions_per_content: u32,
    /// Sessions on the same device. One more replaces the oldest.
    #[schema(minimum = 1, maximum = 100)]
    pub sessions_per_device: u32,
    /// Seconds between two heartbeats, as players are told.
    #[schema(minimum = 1, maximum = 300)]
    pub heartbeat_seconds: u32,
    /// Seconds without a heartbeat after which a session has no place any more.
    #[schema(minimum = 1, maximum = 600)]
    pub timeout_seconds: u32,
    /// Seconds without a heartbeat after which a session gives its place to one that needs it.
    #[schema(minimum = 1, maximum = 600)]
    pub idle_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            playback_url: "/media/{content}".to_owned(),
            playback_seconds: 300,
            key_days: 30,
            sessions_per_user: 3,
            sessions_per_family: 10,
            sessions_per_content: 0,
            sessions_per_device: 1,
            heartbeat_seconds: 15,
            timeout_seconds: 45,
            idle_seconds: 30,
        }
    }
}

//! Where an instance stands, as it is kept.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where an instance stands: all that is needed to go on, on any host, beside the definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The form of this state.
    pub(crate) version: u16,
    /// The instance.
    pub(crate) instance: String,
    /// What came in.
    pub(crate) input: Value,
    /// When it started.
    pub(crate) started_at: Timestamp,
}

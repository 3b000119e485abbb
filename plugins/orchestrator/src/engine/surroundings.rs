//! What the engine is told about the world.

use std::fmt;

use jiff::Timestamp;
use serde_json::Value;

/// What the engine is told about the world; all that it knows of it.
pub struct Surroundings<'a> {
    /// The time.
    pub now: Timestamp,
    /// `$runtime`: `name`, `version` and `metadata`.
    pub runtime: &'a Value,
    /// The value of a secret by its name. Only what the definition lists in `use.secrets` is asked for.
    pub secrets: &'a dyn Fn(&str) -> Option<Value>,
    /// A number from 0 to 1 (without 1), for jitter.
    pub random: &'a dyn Fn() -> f64,
    /// What it may use.
    pub limits: Limits,
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("now", &self.now)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What an advance may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Steps of one advance, after which it says [`super::Status::Running`].
    pub steps: u32,
    /// Whether an advance ends after each task that completes, so that its driver can keep the state before the next starts.
    pub pause_after_task: bool,
    /// Tasks that an instance may run in all.
    pub tasks_max: u64,
    /// Branches that may be open at the same time.
    pub branches_max: usize,
    /// Steps of one expression.
    pub expression_steps: u64,
    /// Bytes of one value that an expression makes, roughly as JSON.
    pub value_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            steps: 1_000,
            pause_after_task: false,
            tasks_max: 100_000,
            branches_max: 1_000,
            expression_steps: 2_000_000,
            value_bytes_max: 8 << 20,
        }
    }
}

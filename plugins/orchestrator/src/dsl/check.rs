//! What a schema cannot say: names that must exist, expressions that must read, durations that must mean something.

use super::{Definition, fault::Fault};

/// What is wrong beyond the schema.
pub(super) fn check(_definition: &Definition) -> Vec<Fault> {
    Vec::new()
}

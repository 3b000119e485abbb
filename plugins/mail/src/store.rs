//! All SQL of the plugin, one file per table.

pub(crate) mod caught;
pub(crate) mod letters;
pub(crate) mod messages;
pub(crate) mod suppressions;

//! All SQL of the plugin. What the functions promise stands in the migrations.

pub(crate) mod commands;
pub(crate) mod keys;

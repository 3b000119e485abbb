//! All SQL of the plugin. What the functions promise stands in the migrations.

pub(crate) mod families;
pub(crate) mod fires;
pub(crate) mod schedules;
pub(crate) mod tick;

//! All SQL of the plugin, by subject; what needs more than a statement is a function of the migrations.

pub(crate) mod changes;
pub(crate) mod log;
pub(crate) mod media;
pub(crate) mod members;
pub(crate) mod presence;
pub(crate) mod surveys;
pub(crate) mod told;

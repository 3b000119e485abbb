//! All SQL of the plugin. What the functions promise stands in the migrations.

pub(crate) mod commands;
pub(crate) mod definitions;
pub(crate) mod events;
pub(crate) mod history;
pub(crate) mod instances;
pub(crate) mod jobs;
pub(crate) mod keys;
pub(crate) mod needs;
pub(crate) mod registrations;
pub(crate) mod schedules;
pub(crate) mod together;
pub(crate) mod watchers;

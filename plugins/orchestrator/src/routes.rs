//! The routes, a file for each resource: decode, call, answer.

pub(crate) mod commands;
pub(crate) mod definitions;
pub(crate) mod events;
pub(crate) mod fetching;
pub(crate) mod files;
pub(crate) mod graphs;
pub(crate) mod instances;

//! The routes, a file for each resource: decode, call, answer.

pub(crate) mod commands;
pub(crate) mod fetching;

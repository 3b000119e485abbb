//! HTTP: a file for each resource.

pub(crate) mod files;
pub(crate) mod fires;
pub(crate) mod hasura;
pub(crate) mod reserved;
pub(crate) mod schedules;

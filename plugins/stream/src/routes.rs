//! Routes, one file per resource: decode, call, answer.

pub(crate) mod api;
pub(crate) mod connection;
pub(crate) mod events;

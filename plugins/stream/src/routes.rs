//! Routes, one file per resource: decode, call, answer.

pub(crate) mod connection;

//! Routes, one file per resource: decode, call, answer.

pub(crate) mod mailhog;
pub(crate) mod messages;
pub(crate) mod page;
pub(crate) mod suppressions;

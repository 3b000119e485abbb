//! Routes, one file per kind of answer.

pub(crate) mod answers;
pub(crate) mod crashes;
pub(crate) mod panics;
pub(crate) mod reaches;
pub(crate) mod sockets;
pub(crate) mod waits;

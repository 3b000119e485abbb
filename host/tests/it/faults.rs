//! Bad plugins in the real binary: each fault has its answer, and the host and the other plugins go on.

mod blocking;
mod crashes;
mod files;
mod isolated;
mod memory;
mod panics;
mod refusals;
mod schema;

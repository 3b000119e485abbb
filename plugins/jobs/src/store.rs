//! All SQL of the plugin. What the functions promise stands in the migrations.

pub(crate) mod batches;
pub(crate) mod claim;
pub(crate) mod control;
pub(crate) mod endpoints;
pub(crate) mod enqueue;
pub(crate) mod families;
pub(crate) mod finish;
pub(crate) mod hosts;
pub(crate) mod kinds;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod pull;
pub(crate) mod queues;
pub(crate) mod raw;
pub(crate) mod told;

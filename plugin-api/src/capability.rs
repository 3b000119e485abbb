//! What a plugin receives from the host, one file per capability. Reached through [`Context`](crate::Context).

pub mod audit;
pub mod call;
pub mod clock;
pub mod config;
pub mod connect;
pub mod crypto;
pub mod db;
pub mod dump;
pub mod events;
pub mod handlers;
pub mod http;
pub mod hub;
pub mod identity;
pub mod kv;
pub mod listen;
pub mod metrics;
pub mod policy;
pub mod process;
pub mod pubsub;
pub mod secrets;
pub mod tasks;
pub mod tokens;

/// The handle, or the error that names the capability that is missing.
macro_rules! granted {
    ($this:expr, $field:ident, $id:expr) => {
        $this
            .0
            .$field
            .as_ref()
            .ok_or_else(|| $crate::error::Error::not_granted($id))
    };
}

pub(crate) use granted;

/// Milliseconds of a duration as they cross.
pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

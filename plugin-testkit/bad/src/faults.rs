//! The faults themselves.

use std::{panic::panic_any, time::Duration};

use nself_plugin_api::{Error, Result};

/// Panics when it is dropped.
pub(crate) struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        // A second panic while the first one unwinds would be an abort, which no guard can contain.
        assert!(std::thread::panicking(), "a bomb was dropped");
    }
}

/// A payload whose own end panics.
pub(crate) struct Payload;

impl Drop for Payload {
    fn drop(&mut self) {
        panic!("the payload was dropped");
    }
}

/// Panics with a payload that panics.
pub(crate) fn panic_with_payload() -> ! {
    panic_any(Payload)
}

/// Says no.
pub(crate) fn refuse<T>() -> Result<T> {
    Err(Error::new(
        500,
        "BAD_REFUSES",
        "it does not want to, as the version says",
    ))
}

/// Blocks the thread, as no plugin may.
pub(crate) fn block(duration: Duration) {
    std::thread::sleep(duration);
}

//! Keeps the event loop turning while a plugin blocks a thread.
//!
//! A worker that wakes for one event works on it before anybody watches for the next ones: its colleagues sleep, and only
//! more work would wake them. If that one event's handler blocks, which none may, no socket and no timer is served
//! until it returns (tokio-rs/tokio issue 4730). A beat from outside is such work: it wakes a colleague, which then
//! watches. So the others wait for a beat instead of for the plugin.
//!
//! The same thread looks at every beat which plugin it is that blocks.

use std::{
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use crate::plugin::watchdog::Watchdog;

/// Longest time that a blocked thread keeps the others waiting. A beat costs some microseconds.
const EVERY: Duration = Duration::from_millis(50);

/// The running heart. It ends when this is dropped.
pub struct Heartbeat {
    _stop: SyncSender<()>,
}

impl Heartbeat {
    /// Starts to beat for `runtime`.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn start(runtime: Handle) -> std::io::Result<Self> {
        let (stop, stopped) = sync_channel(0);
        thread::Builder::new()
            .name("heartbeat".to_owned())
            .spawn(move || {
                let mut watchdog = Watchdog::new(Instant::now());
                while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                    runtime.spawn(async {});
                    watchdog.look(Instant::now());
                }
            })?;
        Ok(Self { _stop: stop })
    }
}

//! The faults themselves.

use std::{
    cell::Cell, fs::File, hint::black_box, os::unix::fs::FileExt, panic::panic_any, ptr,
    time::Duration,
};

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

/// Reads through a pointer that leads nowhere. No word of this language can do that: the pointer is spoiled from outside, through
/// what the system shows of the process's memory.
pub(crate) fn segfault() -> u8 {
    let place: Box<Cell<&'static [u8]>> = Box::new(Cell::new(b"text"));
    let address = ptr::from_ref(&*place).expose_provenance();
    let pointer_and_length = [8_usize, 8].map(usize::to_ne_bytes).concat();
    File::options()
        .write(true)
        .open("/proc/self/mem")
        .and_then(|memory| memory.write_all_at(&pointer_and_length, address as u64))
        .expect("a process may write its own memory");
    black_box(&place).get()[black_box(0)]
}

/// Calls itself until the stack has no room.
pub(crate) fn overflow(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if black_box(depth) == u64::MAX {
        return 0;
    }
    overflow(depth + 1) + black_box(frame)[0]
}

/// Does something on a thread of its own, and waits for it.
pub(crate) fn in_thread(work: fn()) {
    let thread = std::thread::spawn(work);
    drop(thread.join());
}

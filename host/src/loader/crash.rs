//! Which plugin it was, when this process is ended by a fatal signal.
//!
//! A plugin shares the address space, and no guard stops a write through a wild pointer. So what can be done is to say who
//! it was: a handler finds the plugin, writes a few lines with one `pwrite(2)` into a file that was opened at the start, and
//! lets the signal take its course, so that exit status and core dump are those of the crash. The next start reads the
//! file (`plugin::crashes`).
//!
//! It is looked for in this order; the first that knows is believed:
//!
//! 1. the faulting instruction lies in a plugin's file;
//! 2. the thread is just being polled for a plugin, which then called the system's or the host's code: the note of the
//!    watchdog says for which, and costs the hot path nothing beyond what the watchdog costs;
//! 3. the thread was started by a plugin: the outermost code on its stack is the plugin's.
//!
//! Who ends the process by `exit` from a plugin is found by 2 and 3. What no handler can see: `_exit`, `SIGKILL`, and an
//! overflow of the stack of a thread that a plugin has started itself, for which there is no other stack to run a handler on. And memory
//! that one plugin spoils for another is the other's crash.

mod handler;
mod images;
mod stack;
mod words;

pub use handler::{Here, watch};
pub use images::ImageNumber;

/// The first line of what the handler writes: the form and its number.
pub const FORM: &str = "nself-crash 1";
/// The last one: without it the file is not whole.
pub const END: &str = "end";

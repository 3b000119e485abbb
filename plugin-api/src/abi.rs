//! The boundary: `repr(C)` tables, and the only unsafe code of this crate.
//!
//! Host and plugin each compile their own copy of this module, with whatever compiler built them, so nothing that has a
//! Rust layout crosses: no `Box`, `String`, `Waker` or data-carrying enum, only the types below. Both sides use the safe
//! handles and provider traits that `interface!` makes; an author never sees this module.
//!
//! Rules that keep old binaries loadable (`docs/abi.md`):
//! - a table starts with its `size` and is append-only; a changed meaning is a new id (`nself.db/2`);
//! - whoever allocates frees: every owned object carries its drop function;
//! - a call never unwinds across: each function here runs behind [`guard`](panic::guard) in the image that it was compiled into;
//! - every function may be called from any thread.

pub mod bytes;
pub mod entry;
pub mod error;
pub mod extension;
pub mod future;
pub mod instance;
mod interface;
pub mod layout;
pub mod note;
pub mod panic;
pub mod request;
pub mod response;
pub mod stream;
pub mod wire;
pub mod zst;

/// Interfaces that the host hands out, one file each.
pub mod capability {
    pub mod call;
    pub mod clock;
    pub mod config;
    pub mod connect;
    pub mod crypto;
    pub mod db;
    pub mod dump;
    pub mod handlers;
    pub mod http;
    pub mod hub;
    pub mod identity;
    pub mod kv;
    pub mod listen;
    pub mod log;
    pub mod metrics;
    pub mod policy;
    pub mod process;
    pub mod pubsub;
    pub mod task;
    pub mod tokens;
}

/// Boundary major: both sides must be equal.
pub const MAJOR: u32 = 1;

/// Boundary minor of this crate: grows when a table or an id is added.
pub const MINOR: u32 = 7;

//! Errors as they cross, and the outcome of an asynchronous call.

use std::mem::ManuallyDrop;

use super::bytes::Bytes;
use super::layout::layout;

/// `kind` of an error that the callee returned.
pub const KIND_RETURNED: u32 = 0;
/// `kind` of a panic that the callee's guard caught.
pub const KIND_PANIC: u32 = 1;

/// An error. Numbers are open-ended: a reader treats an unknown `kind` as [`KIND_RETURNED`].
#[repr(C)]
#[derive(Debug, Default)]
pub struct Error {
    /// Why the call failed.
    pub kind: u32,
    /// HTTP status that fits, 0 for 500.
    pub status: u32,
    /// Milliseconds after which a retry makes sense, 0 for unknown.
    pub retry_after_ms: u64,
    /// Stable upper-snake code.
    pub code: Bytes,
    /// One sentence for the caller.
    pub message: Bytes,
    /// JSON for the caller, empty for none.
    pub details: Bytes,
    /// What the log gets and the caller does not.
    pub cause: Bytes,
}

impl Error {
    /// A caught panic.
    pub fn panic(message: String) -> Self {
        Self {
            kind: KIND_PANIC,
            status: 500,
            code: Bytes::from_static(b"PLUGIN_PANIC"),
            message: message.into(),
            ..Self::default()
        }
    }

    /// Whether the callee panicked.
    pub fn is_panic(&self) -> bool {
        self.kind == KIND_PANIC
    }
}

impl std::fmt::Display for Error {
    /// What happened and why, for logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message.to_text())?;
        match self.cause.as_slice() {
            [] => Ok(()),
            _ => write!(f, ": {}", self.cause.to_text()),
        }
    }
}

/// A value or an error. `ok` says which arm of the union is set.
#[repr(C)]
pub struct Outcome<T> {
    ok: u32,
    payload: Payload<T>,
}

#[repr(C)]
union Payload<T> {
    value: ManuallyDrop<T>,
    error: ManuallyDrop<Error>,
}

impl<T> Outcome<T> {
    /// The outcome as a `Result`.
    ///
    /// # Errors
    ///
    /// The callee's error.
    pub fn into_result(self) -> Result<T, Error> {
        let this = ManuallyDrop::new(self);
        if this.ok == 1 {
            // SAFETY: `ok` is 1 only where `From` below set `value`; `this` is never dropped, so this read moves it out.
            Ok(ManuallyDrop::into_inner(unsafe {
                std::ptr::read(&raw const this.payload.value)
            }))
        } else {
            // SAFETY: as above, for `error`.
            Err(ManuallyDrop::into_inner(unsafe {
                std::ptr::read(&raw const this.payload.error)
            }))
        }
    }
}

impl<T> From<Result<T, Error>> for Outcome<T> {
    fn from(result: Result<T, Error>) -> Self {
        match result {
            Ok(value) => Self {
                ok: 1,
                payload: Payload {
                    value: ManuallyDrop::new(value),
                },
            },
            Err(error) => Self {
                ok: 0,
                payload: Payload {
                    error: ManuallyDrop::new(error),
                },
            },
        }
    }
}

impl<T> Drop for Outcome<T> {
    fn drop(&mut self) {
        if self.ok == 1 {
            // SAFETY: `value` is the set arm.
            let value = unsafe { &mut self.payload.value };
            // SAFETY: nobody reads it after this.
            unsafe { ManuallyDrop::drop(value) };
        } else {
            // SAFETY: `error` is the set arm.
            let error = unsafe { &mut self.payload.error };
            // SAFETY: nobody reads it after this.
            unsafe { ManuallyDrop::drop(error) };
        }
    }
}

layout!(ERROR: Error {
    kind: u32,
    status: u32,
    retry_after_ms: u64,
    code: Bytes,
    message: Bytes,
    details: Bytes,
    cause: Bytes,
});
layout!(OUTCOME: Outcome<u64> {
    ok: u32,
    payload: Payload<u64>,
});

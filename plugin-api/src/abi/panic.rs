//! The guard: a panic ends the call that it happened in, never the process.
//!
//! Each image has its own copy of std, and a host cannot catch a plugin's unwind ("Rust cannot catch foreign
//! exceptions", abort). So the guard is compiled into both sides, around calls, polls and drops.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::error::Error;

/// Runs `work`; a panic in it comes back as [`Error::panic`] with the panic's message.
///
/// # Errors
///
/// The panic.
pub fn guard<R>(work: impl FnOnce() -> R) -> Result<R, Error> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let message = message_of(payload.as_ref());
        discard(payload);
        Error::panic(message)
    })
}

/// Runs `drop_it` and contains what it throws; a value whose `Drop` panics must not end the host.
pub fn guard_drop(drop_it: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(drop_it)) {
        discard(payload);
    }
}

/// The text of a panic's payload.
pub(crate) fn message_of(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic with a payload that is not text".to_owned())
}

/// Drops a panic's payload. Dropping can panic in turn, with a payload that does the same, and so on without an end: the
/// third is leaked.
fn discard(payload: Box<dyn Any + Send>) {
    let dropped = |payload| catch_unwind(AssertUnwindSafe(move || drop(payload)));
    if let Err(second) = dropped(payload)
        && let Err(third) = dropped(second)
    {
        std::mem::forget(third);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("again");
        }
    }

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        let error = guard(|| panic!("no row {}", 7))
            .map(|(): ()| ())
            .expect_err("it panicked");
        assert!(error.is_panic());
        assert_eq!(error.message.as_slice(), b"no row 7");
    }

    #[test]
    fn a_payload_that_panics_when_dropped_is_contained() {
        assert!(
            guard(|| std::panic::panic_any(Bomb))
                .map(|(): ()| ())
                .is_err()
        );
        guard_drop(|| drop(Bomb));
    }
}

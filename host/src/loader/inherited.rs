//! What a process hands on to those that it starts.

use std::io;

/// The first descriptor behind standard input, output and error.
const FIRST: libc::c_uint = 3;

/// Lets nothing but standard input, output and error go on to programs that this process starts, whoever has opened what there is.
///
/// # Errors
///
/// On a Linux before 5.11.
pub fn close_in_children() -> io::Result<()> {
    // SAFETY: it takes numbers, and marks descriptors without closing any: whoever owns one goes on having it.
    let marked = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            FIRST,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if marked == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

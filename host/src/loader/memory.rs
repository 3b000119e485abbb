//! What the allocator keeps. Plugin files are read whole, which is megabytes at once.

/// Sizes from which memory is the system's own and goes back to it when it is freed, bytes.
#[cfg(target_env = "gnu")]
const OWN_BYTES_MIN: i32 = 1024 * 1024;
/// Free memory at the end of the heap from which it is given back, bytes.
#[cfg(target_env = "gnu")]
const SPARE_BYTES_MAX: i32 = 1024 * 1024;

/// Makes what is freed of large pieces go back to the system. glibc learns from the first one that is freed that such sizes
/// come and go, and keeps twice as much from then on: 14 MB in a host that has read a plugin of 7 MB. (mallopt(3),
/// `M_MMAP_THRESHOLD`.) Other allocators are left as they are.
pub fn give_back_large() {
    #[cfg(target_env = "gnu")]
    for (parameter, bytes) in [
        (libc::M_MMAP_THRESHOLD, OWN_BYTES_MIN),
        (libc::M_TRIM_THRESHOLD, SPARE_BYTES_MAX),
    ] {
        // SAFETY: it takes two numbers, locks the allocator itself, and may be called at any time; a number that it does not
        // want changes nothing.
        unsafe { libc::mallopt(parameter, bytes) };
    }
}

//! Who has started a thread: whose code is the outermost on its stack.
//!
//! No frame pointers and no unwinding tables are needed: what was written at the base of a stack before the thread's first
//! function ran stays until it ends, and only the starter's code has run there. Words further in prove nothing.

use std::mem::size_of;

use super::{super::AddressRange, images, images::Image};

/// Stacks larger than this are not looked through.
const STACK_BYTES_MAX: usize = 64 << 20;

/// Words that are read at a time: the handler's own stack is small.
const WORDS: usize = 64;

/// The plugin that has started the calling thread, whose stack reaches down to `pointer`; `host` is the host's own code.
pub(super) fn started_by(pointer: usize, host: &AddressRange) -> Option<&'static Image> {
    // glibc keeps what it knows of a thread at the base of its stack. Of the main thread it does not, and then there is
    // nothing to look through.
    // SAFETY: it takes nothing and gives the thread's own number.
    let base = usize::try_from(unsafe { libc::pthread_self() }).ok()?;
    if pointer == 0 || base.checked_sub(pointer)? > STACK_BYTES_MAX {
        return None;
    }
    let mut outermost = None;
    let mut words = [0_usize; WORDS];
    let mut at = pointer.next_multiple_of(size_of::<usize>());
    while at < base {
        for word in read(at, base, &mut words)? {
            if host.contains(word) {
                outermost = None;
            } else if let Some(image) = images::code_at(*word) {
                outermost = Some(image);
            }
        }
        at += size_of_val(&words);
    }
    outermost
}

/// The words from `at` on and before `base`. Asked of the system, which says no where a load would be a second crash.
fn read(at: usize, base: usize, words: &mut [usize; WORDS]) -> Option<&[usize]> {
    let bytes = size_of_val(words).min(base - at);
    let local = libc::iovec {
        iov_base: words.as_mut_ptr().cast(),
        iov_len: bytes,
    };
    let remote = libc::iovec {
        iov_base: std::ptr::with_exposed_provenance_mut(at),
        iov_len: bytes,
    };
    let own = rustix::process::getpid().as_raw_nonzero().get();
    // SAFETY: `local` is `words`, which is as long as that; the other side is only read, by the system, which checks it.
    let read = unsafe { libc::process_vm_readv(own, &raw const local, 1, &raw const remote, 1, 0) };
    let read = usize::try_from(read).ok().filter(|read| *read == bytes)?;
    words.get(..read / size_of::<usize>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_read_up_to_its_base_and_what_is_not_mapped_is_no_crash() {
        let words: [usize; 3] = [7, 8, 9];
        let at = words.as_ptr().expose_provenance();
        let mut into = [0; WORDS];
        let base = at + size_of_val(&words);
        assert_eq!(read(at, base, &mut into), Some(&[7, 8, 9][..]));
        assert_eq!(read(8, 64, &mut into), None);
        // This thread is of nobody's plugin.
        assert!(started_by(at, &(0..0)).is_none());
        assert!(started_by(0, &(0..0)).is_none());
    }
}

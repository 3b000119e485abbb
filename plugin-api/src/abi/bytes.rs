//! Borrowed and owned bytes as they cross: pointer, length, and for owned ones the function that frees them.

use super::layout::layout;
use std::{
    fmt,
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr, slice,
    sync::{
        Arc,
        atomic::{Ordering, compiler_fence},
    },
};

/// A borrowed array of `T`.
///
/// Made only from a live slice, and readable only while `'a` lasts; that is what makes the safe accessors sound.
#[repr(C)]
pub struct Slice<'a, T> {
    ptr: *const T,
    len: usize,
    marker: PhantomData<&'a T>,
}

impl<T> Clone for Slice<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Slice<'_, T> {}

// SAFETY: a `Slice` is a shared reference in another shape.
unsafe impl<T: Sync> Send for Slice<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Slice<'_, T> {}

impl<'a, T> Slice<'a, T> {
    /// Borrows `items`.
    pub const fn new(items: &'a [T]) -> Self {
        Self {
            ptr: items.as_ptr(),
            len: items.len(),
            marker: PhantomData,
        }
    }

    /// The items; empty for a null pointer, which other languages pass for "nothing".
    pub fn as_slice(&self) -> &'a [T] {
        if self.ptr.is_null() {
            return &[];
        }
        // SAFETY: not null; built from a slice that lives for 'a, on this side or on the other.
        unsafe { slice::from_raw_parts(self.ptr, self.len) }
    }
}

impl<T> Default for Slice<'_, T> {
    fn default() -> Self {
        Self {
            ptr: ptr::null(),
            len: 0,
            marker: PhantomData,
        }
    }
}

impl<'a, T> From<&'a [T]> for Slice<'a, T> {
    fn from(items: &'a [T]) -> Self {
        Self::new(items)
    }
}

/// Borrowed text, or nothing when the pointer is null. The reader checks the UTF-8.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Str<'a> {
    bytes: Slice<'a, u8>,
}

impl<'a> Str<'a> {
    /// Borrows `text`.
    pub const fn new(text: &'a str) -> Self {
        Self {
            bytes: Slice::new(text.as_bytes()),
        }
    }

    /// Borrows bytes that are usually text, such as a header's value.
    pub const fn from_bytes(bytes: &'a [u8]) -> Self {
        Self {
            bytes: Slice::new(bytes),
        }
    }

    /// Nothing, as opposed to empty text.
    pub fn none() -> Self {
        Self::default()
    }

    /// The bytes, or `None` for nothing.
    pub fn bytes(&self) -> Option<&'a [u8]> {
        (!self.bytes.ptr.is_null()).then(|| self.bytes.as_slice())
    }

    /// The text; empty when there is nothing or when it is not UTF-8.
    pub fn as_str(&self) -> &'a str {
        std::str::from_utf8(self.bytes.as_slice()).unwrap_or_default()
    }

    /// The text, or `None` when there is nothing or when it is not UTF-8.
    pub fn to_option(&self) -> Option<&'a str> {
        self.bytes()
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
    }
}

impl<'a> From<&'a str> for Str<'a> {
    fn from(text: &'a str) -> Self {
        Self::new(text)
    }
}

impl<'a> From<Option<&'a str>> for Str<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or_else(Self::none, Self::new)
    }
}

impl fmt::Debug for Str<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_option(), f)
    }
}

type DropBytes = unsafe extern "C" fn(ptr: *const u8, len: usize, owner: *mut ());

/// Owned bytes. Freed by the side that made them, through `drop`; never copied on the way.
#[repr(C)]
pub struct Bytes {
    ptr: *const u8,
    len: usize,
    owner: *mut (),
    drop: Option<DropBytes>,
}

// SAFETY: the bytes are immutable, and the owner is `Send + Sync` by construction (a Vec<u8> or a bytes::Bytes).
unsafe impl Send for Bytes {}
// SAFETY: as above.
unsafe impl Sync for Bytes {}

impl Bytes {
    /// No bytes; allocates nothing.
    pub const fn new() -> Self {
        Self::from_static(&[])
    }

    /// Bytes that live as long as the image.
    pub const fn from_static(bytes: &'static [u8]) -> Self {
        Self {
            ptr: bytes.as_ptr(),
            len: bytes.len(),
            owner: ptr::null_mut(),
            drop: None,
        }
    }

    /// Bytes that are overwritten with zeros before they are freed, whoever drops them: a password on its way. What the
    /// vector had left behind when it grew is not reached, so it should have been made in its final size.
    pub fn secret(bytes: Vec<u8>) -> Self {
        let mut this = Self::from(bytes);
        if this.drop.is_some() {
            this.drop = Some(drop_secret);
        }
        this
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        if self.ptr.is_null() {
            return &[];
        }
        // SAFETY: not null; the owner keeps `len` initialised, immutable bytes alive until `drop`.
        unsafe { slice::from_raw_parts(self.ptr, self.len) }
    }

    /// The text; what is not UTF-8 is replaced.
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(self.as_slice()).into_owned()
    }
}

impl Default for Bytes {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if let Some(drop) = self.drop {
            // SAFETY: called once, with the values that it was made with.
            unsafe { drop(self.ptr, self.len, self.owner) };
        }
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({} bytes)", self.len)
    }
}

unsafe extern "C" fn drop_vec(ptr: *const u8, len: usize, owner: *mut ()) {
    // SAFETY: made by `From<Vec<u8>>` of this image: the vector's pointer and length, its capacity in `owner`.
    drop(unsafe { Vec::from_raw_parts(ptr.cast_mut(), len, owner.addr()) });
}

unsafe extern "C" fn drop_secret(ptr: *const u8, len: usize, owner: *mut ()) {
    // SAFETY: made by `Bytes::secret` of this image: the vector's pointer and length, its capacity in `owner`.
    let mut bytes = unsafe { Vec::from_raw_parts(ptr.cast_mut(), len, owner.addr()) };
    wipe(&mut bytes);
}

/// Overwrites bytes that nobody will read: an ordinary write would be left out as useless.
fn wipe(bytes: &mut [u8]) {
    for byte in bytes {
        // SAFETY: a reference is valid for a write.
        unsafe { ptr::write_volatile(byte, 0) };
    }
    // The memory must not be freed before.
    compiler_fence(Ordering::SeqCst);
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.capacity() == 0 {
            return Self::new();
        }
        let mut bytes = ManuallyDrop::new(bytes);
        Self {
            ptr: bytes.as_mut_ptr().cast_const(),
            len: bytes.len(),
            owner: ptr::without_provenance_mut(bytes.capacity()),
            drop: Some(drop_vec),
        }
    }
}

impl From<String> for Bytes {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }
}

unsafe extern "C" fn drop_shared(_: *const u8, _: usize, owner: *mut ()) {
    // SAFETY: made by `From<bytes::Bytes>` of this image with `Box::into_raw`.
    drop(unsafe { Box::from_raw(owner.cast::<::bytes::Bytes>()) });
}

impl From<::bytes::Bytes> for Bytes {
    fn from(bytes: ::bytes::Bytes) -> Self {
        if bytes.is_empty() {
            return Self::new();
        }
        let (ptr, len) = (bytes.as_ptr(), bytes.len());
        Self {
            ptr,
            len,
            owner: Box::into_raw(Box::new(bytes)).cast(),
            drop: Some(drop_shared),
        }
    }
}

unsafe extern "C" fn drop_part<T>(_: *const u8, _: usize, owner: *mut ()) {
    // SAFETY: made by `Bytes::part_of` of this image with `Arc::into_raw`.
    drop(unsafe { Arc::from_raw(owner.cast_const().cast::<T>()) });
}

impl Bytes {
    /// The bytes of something that is shared, and so stay alive and the same for as long as this does.
    pub(super) fn part_of<T: AsRef<[u8]> + Send + Sync>(shared: Arc<T>) -> Self {
        let bytes = (*shared).as_ref();
        let (ptr, len) = (bytes.as_ptr(), bytes.len());
        Self {
            ptr,
            len,
            owner: Arc::into_raw(shared).cast_mut().cast(),
            drop: Some(drop_part::<T>),
        }
    }
}

impl From<Bytes> for ::bytes::Bytes {
    fn from(bytes: Bytes) -> Self {
        if bytes.len == 0 {
            return Self::new();
        }
        Self::from_owner(bytes)
    }
}

/// Owned bytes, or nothing.
#[repr(C)]
#[derive(Debug, Default)]
pub struct OptBytes {
    some: u32,
    bytes: Bytes,
}

impl From<Option<Bytes>> for OptBytes {
    fn from(bytes: Option<Bytes>) -> Self {
        Self {
            some: u32::from(bytes.is_some()),
            bytes: bytes.unwrap_or_default(),
        }
    }
}

impl From<OptBytes> for Option<Bytes> {
    fn from(value: OptBytes) -> Self {
        (value.some != 0).then_some(value.bytes)
    }
}

layout!(SLICE: Slice<'static, u8> {
    ptr: *const u8,
    len: usize,
});
layout!(STR: Str<'static> {
    bytes: Slice<'static, u8>,
});
layout!(BYTES: Bytes {
    ptr: *const u8,
    len: usize,
    owner: *mut (),
    drop: Option<DropBytes>,
});
layout!(OPT_BYTES: OptBytes {
    some: u32,
    bytes: Bytes,
});

#[cfg(test)]
mod tests {
    use std::{
        alloc::{GlobalAlloc, Layout, System},
        sync::{Mutex, atomic::AtomicPtr},
    };

    use super::*;

    #[test]
    fn bytes_come_back_whole_whoever_owned_them() {
        for bytes in [
            Bytes::from(b"abc".to_vec()),
            Bytes::from(::bytes::Bytes::from_static(b"abc")),
            Bytes::from_static(b"abc"),
        ] {
            assert_eq!(bytes.as_slice(), b"abc");
            assert_eq!(::bytes::Bytes::from(bytes), "abc");
        }
        assert_eq!(Bytes::from(Vec::new()).as_slice(), b"");
    }

    /// The system's allocator, which looks into one block while it is freed.
    struct Watching;

    static WATCHED: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
    static FREED: Mutex<Option<Vec<u8>>> = Mutex::new(None);

    #[global_allocator]
    static ALLOCATOR: Watching = Watching;

    // SAFETY: everything is the system's allocator.
    unsafe impl GlobalAlloc for Watching {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: as the caller promised.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            let watched = WATCHED.compare_exchange(
                block,
                ptr::null_mut(),
                Ordering::SeqCst,
                Ordering::SeqCst,
            );
            if !block.is_null() && watched.is_ok() {
                // SAFETY: the test watches only a whole vector of that size, still allocated here.
                let bytes = unsafe { slice::from_raw_parts(block, layout.size()) };
                *FREED.lock().expect("one test watches") = Some(bytes.to_vec());
            }
            // SAFETY: as the caller promised.
            unsafe { System.dealloc(block, layout) };
        }
    }

    /// What stands in the memory of `bytes` when it is freed.
    fn left_behind(bytes: Bytes) -> Vec<u8> {
        WATCHED.store(bytes.ptr.cast_mut(), Ordering::SeqCst);
        drop(bytes);
        let freed = FREED.lock().expect("one test watches").take();
        freed.expect("the bytes were freed")
    }

    #[test]
    fn a_secret_is_overwritten_before_it_is_freed() {
        let password = || b"correct horse".to_vec();
        assert_eq!(left_behind(password().into()), b"correct horse");
        let secret = Bytes::secret(password());
        assert_eq!(secret.as_slice(), b"correct horse");
        assert_eq!(left_behind(secret), [0; 13]);
        assert_eq!(Bytes::secret(Vec::new()).as_slice(), b"");
    }

    #[test]
    fn nothing_is_not_empty_text() {
        assert_eq!(Str::none().to_option(), None);
        assert_eq!(Str::new("").to_option(), Some(""));
        assert_eq!(Str::from_bytes(b"\xff").to_option(), None);
        assert!(Slice::<u8>::default().as_slice().is_empty());
    }
}

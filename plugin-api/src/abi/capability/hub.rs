//! Fan-out to sockets: frames that are encoded once, connections with a queue, topics.

use std::{slice, sync::Arc};

use crate::abi::layout::layout;
use crate::abi::{
    bytes::{Bytes, Str},
    error::Outcome,
    interface::interface,
    panic::guard_drop,
};

/// What becomes of a frame of a topic for which a connection has no room.
pub mod policy {
    /// The connection is given up: what waits for it goes, it is closed, and its client recovers when it is back.
    pub const RECOVER: u32 = 1;
    /// While a connection does not keep up, only the newest frame of the topic waits for it.
    pub const LATEST: u32 = 2;
    /// The oldest frames of the topic that wait go.
    pub const DROP_OLDEST: u32 = 3;
}

interface! {
    /// The host's sockets, as far as they are this plugin's.
    pub interface Hub: HubProvider / HubTable = "nself.hub/1" {
        /// Encodes a message (`kind` of [`message`](crate::abi::response::message): text or binary), once for all that it goes to.
        sync fn frame(kind: u32, payload: Bytes) -> Outcome<Frame>;
        /// The connection of an open socket, by the socket's number. At most `bytes_max` wait for it; where more would,
        /// it is closed with `slow_code`. When the plugin stops it is closed with `restart_code`, within a window.
        sync fn connection(socket: u64, bytes_max: u64, slow_code: u32, slow_reason: Str<'_>, restart_code: u32, restart_reason: Str<'_>) -> Outcome<Connection>;
        /// A topic without members; `policy` is one of [`policy`]. Dropped, it is gone.
        sync fn topic(policy: u32) -> Outcome<Topic>;
    }
}

interface! {
    /// An open socket and what waits for it. Nothing here waits; frames go out in the order of the calls.
    pub interface Connection: ConnectionProvider / ConnectionTable = "nself.hub.connection/1" {
        /// Sends; 0 when it is closing.
        sync fn send(frame: Frame) -> u32;
        /// Closes after what was sent before. The first close counts.
        sync fn close(code: u32, reason: Str<'_>);
        /// 1 when it is closing, if only because it did not keep up, or gone.
        sync fn is_closing() -> u32;
        /// Gives it up: nothing more is written, and the work on its socket is dropped.
        sync fn cut();
        /// Closes it so, unless this is called again in time. The last deadline counts; 0 takes it away.
        sync fn set_deadline(after_ms: u64, code: u32, reason: Str<'_>);
        /// Bytes that wait to be written.
        sync fn waiting() -> u64;
    }
}

interface! {
    /// Connections that are sent the same. Members are named by the number of their socket, and leave when that ends.
    pub interface Topic: TopicProvider / TopicTable = "nself.hub.topic/1" {
        /// Lets a connection in, for what is published from now on; 1 when it is in it now.
        sync fn add(socket: u64) -> u32;
        /// Takes a connection out; 1 when it was in it.
        sync fn remove(socket: u64) -> u32;
        /// Sends to all members but `except` (0 is nobody); how many there are.
        sync fn publish(frame: Frame, except: u64) -> u64;
        /// How many members there are.
        sync fn members() -> u64;
    }
}

/// Bytes that many hold at once. They are where they were made, and go with the last who holds them.
#[repr(C)]
pub struct Frame {
    ptr: *const u8,
    len: usize,
    owner: *const (),
    table: *const FrameTable,
}

/// Functions of a frame.
#[repr(C)]
pub struct FrameTable {
    retain: unsafe extern "C" fn(*const ()),
    release: unsafe extern "C" fn(*const ()),
}

// SAFETY: the bytes are immutable, and their owner is an `Arc` of something `Send + Sync`.
unsafe impl Send for Frame {}
// SAFETY: as above.
unsafe impl Sync for Frame {}

unsafe extern "C" fn retain<T>(owner: *const ()) {
    // SAFETY: the owner is the `Arc` that `Frame::new` leaked, and whoever calls holds it.
    unsafe { Arc::increment_strong_count(owner.cast::<T>()) };
}

unsafe extern "C" fn release<T>(owner: *const ()) {
    // SAFETY: the owner is the `Arc` that `Frame::new` leaked; the caller gives up one reference of it.
    let owner = unsafe { Arc::from_raw(owner.cast::<T>()) };
    guard_drop(|| drop(owner));
}

struct Tables<T>(std::marker::PhantomData<T>);

impl<T> Tables<T> {
    const TABLE: FrameTable = FrameTable {
        retain: retain::<T>,
        release: release::<T>,
    };
}

impl Frame {
    /// The bytes of `owner`, which lives as long as somebody holds the frame.
    pub fn new<T: AsRef<[u8]> + Send + Sync + 'static>(owner: Arc<T>) -> Self {
        let bytes = T::as_ref(&owner);
        let (ptr, len) = (bytes.as_ptr(), bytes.len());
        Self {
            ptr,
            len,
            owner: Arc::into_raw(owner).cast(),
            table: const { &Tables::<T>::TABLE },
        }
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: they were borrowed from the owner, which is shared, and alive while this holds a reference to it.
        unsafe { slice::from_raw_parts(self.ptr, self.len) }
    }
}

impl Clone for Frame {
    fn clone(&self) -> Self {
        // SAFETY: the table is a static of the image that made the frame.
        let retain = unsafe { &*self.table }.retain;
        // SAFETY: this frame holds a reference to the owner that belongs to the table.
        unsafe { retain(self.owner) };
        Self {
            ptr: self.ptr,
            len: self.len,
            owner: self.owner,
            table: self.table,
        }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        // SAFETY: the table is a static of the image that made the frame.
        let release = unsafe { &*self.table }.release;
        // SAFETY: this frame gives up its reference, once.
        unsafe { release(self.owner) };
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

layout!(FRAME: Frame {
    ptr: *const u8,
    len: usize,
    owner: *const (),
    table: *const FrameTable,
});
layout!(FRAME_TABLE: FrameTable {
    retain: unsafe extern "C" fn(*const ()),
    release: unsafe extern "C" fn(*const ()),
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_freed_with_the_last_who_holds_it() {
        let owner = Arc::new(b"once".to_vec());
        let frame = Frame::new(Arc::clone(&owner));
        let held: Vec<Frame> = vec![frame.clone(); 3];
        assert_eq!(Arc::strong_count(&owner), 5);
        drop(frame);
        assert!(held.iter().all(|frame| frame.as_slice() == b"once"));
        let elsewhere = std::thread::spawn(move || held.len());
        assert_eq!(elsewhere.join().expect("it counts"), 3);
        assert_eq!(Arc::strong_count(&owner), 1);
    }

    #[test]
    fn an_empty_frame_is_a_slice_as_well() {
        let frame = Frame::new(Arc::new(Vec::new()));
        assert_eq!(frame.as_slice(), b"");
    }
}

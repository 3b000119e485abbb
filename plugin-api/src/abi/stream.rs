//! Byte streams: a poll function pair, so that a chunk costs no boxed future.

use std::{
    marker::PhantomData,
    mem::{ManuallyDrop, MaybeUninit},
    pin::Pin,
    ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use super::layout::layout;
use super::{
    bytes::Bytes,
    error::{Error, Outcome},
    future::{PANICKED, PENDING, READY, WakerBase, WakerSlot, with_context},
    panic::{guard, guard_drop},
};

/// The stream has ended; nothing was written.
pub const END: u32 = 3;

/// A stream of chunks of the other side. Dropping it cancels the work.
#[repr(C)]
pub struct Stream {
    state: *mut (),
    vtable: *const StreamVtable,
    slot: *mut (),
}

/// Functions of a stream.
#[repr(C)]
pub struct StreamVtable {
    poll_next:
        unsafe extern "C" fn(*mut (), *const WakerBase, *mut MaybeUninit<Outcome<Bytes>>) -> u32,
    drop: unsafe extern "C" fn(*mut ()),
}

// SAFETY: made only from streams that are `Send`; the slot holds a `Send` waker object.
unsafe impl Send for Stream {}
// SAFETY: it is only ever polled through `&mut`.
unsafe impl Sync for Stream {}

struct Vtables<S>(PhantomData<S>);

impl<S> Vtables<S>
where
    S: futures_util::Stream<Item = Result<Bytes, Error>> + Send,
{
    const VTABLE: StreamVtable = StreamVtable {
        poll_next: poll_boxed::<S>,
        drop: drop_boxed::<S>,
    };
}

unsafe extern "C" fn poll_boxed<S>(
    state: *mut (),
    waker: *const WakerBase,
    out: *mut MaybeUninit<Outcome<Bytes>>,
) -> u32
where
    S: futures_util::Stream<Item = Result<Bytes, Error>> + Send,
{
    // SAFETY: the state is the box that `Stream::new` leaked; the holder polls it exclusively.
    let stream = unsafe { &mut *state.cast::<S>() };
    // SAFETY: as above: it never moves.
    let stream = unsafe { Pin::new_unchecked(stream) };
    // SAFETY: the caller lends a live waker for the duration of this call.
    let polled = guard(|| unsafe { with_context(waker, |cx| stream.poll_next(cx)) });
    let (code, outcome) = match polled {
        Ok(Poll::Pending) => return PENDING,
        Ok(Poll::Ready(None)) => return END,
        Ok(Poll::Ready(Some(result))) => (READY, result.into()),
        Err(panic) => (PANICKED, Err(panic).into()),
    };
    // SAFETY: the caller passes a place for one outcome.
    unsafe { &mut *out }.write(outcome);
    code
}

unsafe extern "C" fn drop_boxed<S>(state: *mut ()) {
    // SAFETY: the state is the box that `Stream::new` leaked, given up once.
    let stream = unsafe { Box::from_raw(state.cast::<S>()) };
    guard_drop(|| drop(stream));
}

/// Bytes that are there already. The stream and its only chunk share this one block of memory.
struct Whole {
    bytes: ::bytes::Bytes,
    taken: AtomicBool,
}

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

static WHOLE: StreamVtable = StreamVtable {
    poll_next: poll_whole,
    drop: drop_whole,
};

unsafe extern "C" fn poll_whole(
    state: *mut (),
    _: *const WakerBase,
    out: *mut MaybeUninit<Outcome<Bytes>>,
) -> u32 {
    let state = state.cast_const().cast::<Whole>();
    // SAFETY: the state is the reference that `Stream::whole` leaked.
    let whole = ManuallyDrop::new(unsafe { Arc::from_raw(state) });
    if whole.taken.swap(true, Relaxed) {
        return END;
    }
    let chunk = Ok(Bytes::part_of(Arc::clone(&whole)));
    // SAFETY: the caller passes a place for one outcome.
    unsafe { &mut *out }.write(chunk.into());
    READY
}

unsafe extern "C" fn drop_whole(state: *mut ()) {
    // SAFETY: the state is the reference that `Stream::whole` leaked, given up once.
    drop(unsafe { Arc::from_raw(state.cast_const().cast::<Whole>()) });
}

impl Stream {
    /// A stream of one chunk, which is there already. No bytes are no chunk.
    pub fn whole(bytes: ::bytes::Bytes) -> Self {
        if bytes.is_empty() {
            return Self::empty();
        }
        let taken = AtomicBool::new(false);
        let whole = Arc::new(Whole { bytes, taken });
        Self {
            state: Arc::into_raw(whole).cast_mut().cast(),
            vtable: &raw const WHOLE,
            slot: ptr::null_mut(),
        }
    }

    /// A stream that ends at once; allocates nothing.
    pub const fn empty() -> Self {
        Self {
            state: ptr::null_mut(),
            vtable: ptr::null(),
            slot: ptr::null_mut(),
        }
    }

    /// A stream of this image for the other side.
    pub fn new<S>(stream: S) -> Self
    where
        S: futures_util::Stream<Item = Result<Bytes, Error>> + Send + 'static,
    {
        Self {
            state: Box::into_raw(Box::new(stream)).cast(),
            vtable: const { &Vtables::<S>::VTABLE },
            slot: ptr::null_mut(),
        }
    }

    /// The only chunk of a stream that is [`whole`](Self::whole) and that nobody has read; else the stream again.
    ///
    /// # Errors
    ///
    /// The stream, when it is another one.
    pub fn into_whole(mut self) -> Result<Bytes, Self> {
        if !ptr::eq(self.vtable, &raw const WHOLE) {
            return Err(self);
        }
        let mut context = Context::from_waker(Waker::noop());
        let next = futures_util::Stream::poll_next(Pin::new(&mut self), &mut context);
        match next {
            Poll::Ready(Some(Ok(chunk))) => Ok(chunk),
            _ => Err(self),
        }
    }

    /// Whether it is [`empty`](Self::empty) from the start.
    pub fn is_empty(&self) -> bool {
        self.vtable.is_null()
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self::empty()
    }
}

impl futures_util::Stream for Stream {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_empty() {
            return Poll::Ready(None);
        }
        let mut out = MaybeUninit::uninit();
        let mut slot = WakerSlot::take(&mut self.slot);
        // SAFETY: the vtable is a static of the image that made the stream.
        let poll = unsafe { &*self.vtable }.poll_next;
        // SAFETY: state and vtable belong together; the waker and the place for the outcome live through the call.
        let code = slot.lend(cx, |waker| unsafe { poll(self.state, waker, &raw mut out) });
        slot.store(&mut self.slot);
        match code {
            PENDING => Poll::Pending,
            END => Poll::Ready(None),
            // SAFETY: every other code comes with a written outcome.
            _ => Poll::Ready(Some(unsafe { out.assume_init() }.into_result())),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        drop(WakerSlot::take(&mut self.slot));
        if !self.is_empty() {
            // SAFETY: the vtable is a static of the image that made the stream.
            let drop = unsafe { &*self.vtable }.drop;
            // SAFETY: called once, with the state that belongs to the vtable.
            unsafe { drop(self.state) };
        }
    }
}

layout!(STREAM: Stream {
    state: *mut (),
    vtable: *const StreamVtable,
    slot: *mut (),
});
layout!(STREAM_VTABLE: StreamVtable {
    poll_next: unsafe extern "C" fn(*mut (), *const WakerBase, *mut MaybeUninit<Outcome<Bytes>>) -> u32,
    drop: unsafe extern "C" fn(*mut ()),
});

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    fn next(stream: &mut Stream) -> Option<Bytes> {
        let Poll::Ready(next) = stream.poll_next_unpin(&mut Context::from_waker(Waker::noop()))
        else {
            panic!("what is whole is never waited for");
        };
        next.map(|chunk| chunk.expect("nothing goes wrong with it"))
    }

    #[test]
    fn what_is_whole_comes_once_and_outlives_its_stream() {
        let mut stream = Stream::whole(::bytes::Bytes::from(b"abc".to_vec()));
        let chunk = next(&mut stream).expect("it has not been taken");
        assert!(next(&mut stream).is_none());
        drop(stream);
        assert_eq!(chunk.as_slice(), b"abc");
        assert!(next(&mut Stream::whole(::bytes::Bytes::new())).is_none());
        // One that nobody reads is freed as well: Miri would tell.
        drop(Stream::whole(::bytes::Bytes::from(b"abc".to_vec())));
    }
}

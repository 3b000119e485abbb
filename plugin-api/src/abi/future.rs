//! Futures and wakers: poll functions that the host's runtime drives, in both directions.
//!
//! A future crosses as (state, vtable). Polling passes a borrowed waker; only a callee that returns pending clones it, and
//! the clone is one shared object for the whole life of the future, so `will_wake` holds and a ready poll allocates nothing.
//! A waker that came from the other side is handed back as the pointer that it is, without another wrapper.

use std::{
    any::Any,
    future::Future,
    marker::PhantomData,
    mem::{ManuallyDrop, MaybeUninit},
    pin::Pin,
    ptr,
    sync::Arc,
    task::{Context, Poll, RawWaker, RawWakerVTable, Waker},
};

use super::layout::layout;
use super::{
    error::{Error, Outcome},
    panic::{guard, guard_drop},
};

/// The future is not finished and will wake the waker.
pub const PENDING: u32 = 0;
/// The result has been written.
pub const READY: u32 = 1;
/// The other side's guard caught a panic; its [`Outcome`] has been written as an error.
pub const PANICKED: u32 = 2;

/// What every waker object starts with; its address is its identity.
#[repr(C)]
pub struct WakerBase {
    vtable: &'static WakerVtable,
}

/// Functions of a waker object.
#[repr(C)]
pub struct WakerVtable {
    /// An owned reference to an object that wakes the same task.
    clone: unsafe extern "C" fn(*const WakerBase) -> *const WakerBase,
    /// Wakes without giving up the reference.
    wake_by_ref: unsafe extern "C" fn(*const WakerBase),
    /// Gives up an owned reference.
    drop: unsafe extern "C" fn(*const WakerBase),
}

/// A waker of this image as an object that the other side can keep.
#[repr(C)]
struct Shared {
    base: WakerBase,
    waker: Waker,
}

/// A waker of this image, lent for one poll. Cloning it makes the [`Shared`] object, once, in `slot`.
#[repr(C)]
struct Lent<'a> {
    base: WakerBase,
    waker: &'a Waker,
    slot: *mut Option<Arc<Shared>>,
}

static SHARED: WakerVtable = WakerVtable {
    clone: shared_clone,
    wake_by_ref: shared_wake,
    drop: shared_drop,
};
static LENT: WakerVtable = WakerVtable {
    clone: lent_clone,
    wake_by_ref: lent_wake,
    drop: lent_drop,
};

unsafe extern "C" fn shared_clone(base: *const WakerBase) -> *const WakerBase {
    // SAFETY: `SHARED` is only the vtable of objects made by `Arc::into_raw`.
    unsafe { Arc::increment_strong_count(base.cast::<Shared>()) };
    base
}

unsafe extern "C" fn shared_wake(base: *const WakerBase) {
    // SAFETY: the caller holds a reference to a `Shared`.
    let shared = unsafe { &*base.cast::<Shared>() };
    guard_drop(|| shared.waker.wake_by_ref());
}

unsafe extern "C" fn shared_drop(base: *const WakerBase) {
    // SAFETY: the caller gives up the reference that `shared_clone` or `lent_clone` made.
    let shared = unsafe { Arc::from_raw(base.cast::<Shared>()) };
    guard_drop(|| drop(shared));
}

unsafe extern "C" fn lent_clone(base: *const WakerBase) -> *const WakerBase {
    // SAFETY: `LENT` is only the vtable of a `Lent` on the stack of the poll that is under way.
    let lent = unsafe { &*base.cast::<Lent<'_>>() };
    // SAFETY: `slot` belongs to the future being polled; a poll has exclusive access, and a waker is lent to one thread.
    let slot = unsafe { &mut *lent.slot };
    let shared = Arc::new(Shared {
        base: WakerBase { vtable: &SHARED },
        waker: lent.waker.clone(),
    });
    *slot = Some(Arc::clone(&shared));
    Arc::into_raw(shared).cast()
}

unsafe extern "C" fn lent_wake(base: *const WakerBase) {
    // SAFETY: as in `lent_clone`.
    let lent = unsafe { &*base.cast::<Lent<'_>>() };
    guard_drop(|| lent.waker.wake_by_ref());
}

unsafe extern "C" fn lent_drop(_: *const WakerBase) {}

/// Vtable of the std wakers that stand for objects of the other side; their data is the `WakerBase` pointer.
static FOREIGN: RawWakerVTable = RawWakerVTable::new(
    foreign_clone,
    foreign_wake,
    foreign_wake_by_ref,
    foreign_drop,
);

unsafe fn vtable(data: *const ()) -> &'static WakerVtable {
    // SAFETY: the data of a `FOREIGN` waker is a live `WakerBase`.
    unsafe { &*data.cast::<WakerBase>() }.vtable
}

unsafe fn foreign_clone(data: *const ()) -> RawWaker {
    // SAFETY: as in `vtable`.
    let clone = unsafe { vtable(data) }.clone;
    // SAFETY: the object is live.
    let cloned = unsafe { clone(data.cast()) };
    RawWaker::new(cloned.cast(), &FOREIGN)
}

unsafe fn foreign_wake(data: *const ()) {
    // SAFETY: by-value wake is a wake and a drop.
    unsafe { foreign_wake_by_ref(data) };
    // SAFETY: the waker is consumed.
    unsafe { foreign_drop(data) };
}

unsafe fn foreign_wake_by_ref(data: *const ()) {
    // SAFETY: as in `vtable`.
    let wake = unsafe { vtable(data) }.wake_by_ref;
    // SAFETY: the object is live.
    unsafe { wake(data.cast()) };
}

unsafe fn foreign_drop(data: *const ()) {
    // SAFETY: as in `vtable`.
    let drop = unsafe { vtable(data) }.drop;
    // SAFETY: the waker gives up its reference.
    unsafe { drop(data.cast()) };
}

/// Runs `work` with a std context over the waker object that the other side lent for this poll.
///
/// # Safety
///
/// `waker` points to a live waker object for the duration of the call.
pub(super) unsafe fn with_context<R>(
    waker: *const WakerBase,
    work: impl FnOnce(&mut Context<'_>) -> R,
) -> R {
    // SAFETY: `FOREIGN` treats the data as the live object that the caller promised. The waker is not dropped: it is lent.
    let waker = ManuallyDrop::new(unsafe { Waker::new(waker.cast(), &FOREIGN) });
    work(&mut Context::from_waker(&waker))
}

/// Keeps the shared waker object of one polled thing of the other side.
#[derive(Default)]
pub(super) struct WakerSlot(Option<Arc<Shared>>);

impl WakerSlot {
    /// Lends the waker of `cx` to `poll` as an object of the boundary.
    pub(super) fn lend<R>(
        &mut self,
        cx: &Context<'_>,
        poll: impl FnOnce(*const WakerBase) -> R,
    ) -> R {
        let waker = cx.waker();
        if ptr::eq(waker.vtable(), &raw const FOREIGN) {
            return poll(waker.data().cast());
        }
        if let Some(shared) = &self.0
            && shared.waker.will_wake(waker)
        {
            return poll(Arc::as_ptr(shared).cast());
        }
        let lent = Lent {
            base: WakerBase { vtable: &LENT },
            waker,
            slot: &raw mut self.0,
        };
        poll((&raw const lent).cast())
    }
}

/// A future of the other side. Dropping it cancels the work.
#[repr(C)]
pub struct Fut<T> {
    state: *mut (),
    vtable: *const FutVtable<T>,
    slot: *mut (),
    marker: PhantomData<T>,
}

/// Functions of a future.
#[repr(C)]
pub struct FutVtable<T> {
    poll: unsafe extern "C" fn(*mut (), *const WakerBase, *mut MaybeUninit<Outcome<T>>) -> u32,
    drop: unsafe extern "C" fn(*mut ()),
}

// SAFETY: made only from futures that are `Send`; the slot holds a `Send` waker object.
unsafe impl<T> Send for Fut<T> {}

struct Vtables<F, T>(PhantomData<(F, T)>);

impl<F, T> Vtables<F, T>
where
    F: Future<Output = Result<T, Error>> + Send,
{
    const VTABLE: FutVtable<T> = FutVtable {
        poll: poll_boxed::<F, T>,
        drop: drop_boxed::<F>,
    };
}

unsafe extern "C" fn poll_boxed<F, T>(
    state: *mut (),
    waker: *const WakerBase,
    out: *mut MaybeUninit<Outcome<T>>,
) -> u32
where
    F: Future<Output = Result<T, Error>> + Send,
{
    // SAFETY: the state is the box that `Fut::new` leaked; the holder polls it exclusively.
    let future = unsafe { &mut *state.cast::<F>() };
    // SAFETY: as above: it never moves.
    let future = unsafe { Pin::new_unchecked(future) };
    // SAFETY: the caller lends a live waker for the duration of this call.
    let polled = guard(|| unsafe { with_context(waker, |cx| future.poll(cx)) });
    let (code, outcome) = match polled {
        Ok(Poll::Pending) => return PENDING,
        Ok(Poll::Ready(result)) => (READY, result.into()),
        Err(panic) => (PANICKED, Err(panic).into()),
    };
    // SAFETY: the caller passes a place for one outcome.
    unsafe { &mut *out }.write(outcome);
    code
}

unsafe extern "C" fn drop_boxed<F>(state: *mut ()) {
    // SAFETY: the state is the box that `Fut::new` leaked, given up once.
    let future = unsafe { Box::from_raw(state.cast::<F>()) };
    guard_drop(|| drop(future));
}

impl<T: 'static> Fut<T> {
    /// A future of this image for the other side. One that is of the boundary already is passed on as it is.
    pub fn new<F>(future: F) -> Self
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let future = match Self::same(future) {
            Ok(mut same) => {
                // Whoever polls it next keeps a waker object of its own there.
                drop(WakerSlot::take(&mut same.slot));
                return same;
            }
            Err(future) => future,
        };
        let vtable: &'static FutVtable<T> = const { &Vtables::<F, T>::VTABLE };
        Self {
            state: Box::into_raw(Box::new(future)).cast(),
            vtable,
            slot: ptr::null_mut(),
            marker: PhantomData,
        }
    }

    /// The future as what it is, when it is one of the boundary. Known when this is compiled.
    fn same<F: 'static>(future: F) -> Result<Self, F> {
        let mut future = Some(future);
        let place: &mut dyn Any = &mut future;
        match place.downcast_mut::<Option<Self>>().and_then(Option::take) {
            Some(same) => Ok(same),
            None => Err(future.expect("nobody took it")),
        }
    }

    /// A future that has failed already.
    pub fn failed(error: Error) -> Self {
        Self::new(async move { Err(error) })
    }
}

impl<T> Unpin for Fut<T> {}

impl<T> Future for Fut<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut out = MaybeUninit::uninit();
        let mut slot = WakerSlot::take(&mut self.slot);
        // SAFETY: the vtable is a static of the image that made the future.
        let poll = unsafe { &*self.vtable }.poll;
        // SAFETY: state and vtable belong together; the waker and the place for the outcome live through the call.
        let code = slot.lend(cx, |waker| unsafe { poll(self.state, waker, &raw mut out) });
        slot.store(&mut self.slot);
        if code == PENDING {
            return Poll::Pending;
        }
        // SAFETY: every other code comes with a written outcome.
        Poll::Ready(unsafe { out.assume_init() }.into_result())
    }
}

impl<T> Drop for Fut<T> {
    fn drop(&mut self) {
        drop(WakerSlot::take(&mut self.slot));
        // SAFETY: the vtable is a static of the image that made the future.
        let drop = unsafe { &*self.vtable }.drop;
        // SAFETY: called once, with the state that belongs to the vtable.
        unsafe { drop(self.state) };
    }
}

impl WakerSlot {
    /// Takes the slot out of its raw form; the raw form is null from then on.
    pub(super) fn take(raw: &mut *mut ()) -> Self {
        let raw = std::mem::replace(raw, ptr::null_mut());
        if raw.is_null() {
            return Self(None);
        }
        // SAFETY: only `store` of this image writes a pointer that is not null, with one reference.
        Self(Some(unsafe {
            Arc::from_raw(raw.cast_const().cast::<Shared>())
        }))
    }

    /// Puts the slot into its raw form, one reference with it.
    pub(super) fn store(self, raw: &mut *mut ()) {
        *raw = self.0.map_or(ptr::null_mut(), |shared| {
            Arc::into_raw(shared).cast_mut().cast()
        });
    }
}

layout!(WAKER_BASE: WakerBase {
    vtable: &'static WakerVtable,
});
layout!(WAKER_VTABLE: WakerVtable {
    clone: unsafe extern "C" fn(*const WakerBase) -> *const WakerBase,
    wake_by_ref: unsafe extern "C" fn(*const WakerBase),
    drop: unsafe extern "C" fn(*const WakerBase),
});
layout!(FUT: Fut<u64> {
    state: *mut (),
    vtable: *const FutVtable<u64>,
    slot: *mut (),
});
layout!(FUT_VTABLE: FutVtable<u64> {
    poll: unsafe extern "C" fn(*mut (), *const WakerBase, *mut MaybeUninit<Outcome<u64>>) -> u32,
    drop: unsafe extern "C" fn(*mut ()),
});

//! Requests: a lazy view over the host's own head, and the body as a stream.

use std::{marker::PhantomData, ptr};

use super::layout::layout;
use super::{
    bytes::Str,
    panic::{guard, guard_drop},
    stream::Stream,
};

/// `kind` of a principal.
pub mod kind {
    /// A person.
    pub const USER: u32 = 1;
    /// A paired machine; it has no user.
    pub const DEVICE: u32 = 2;
    /// A machine-to-machine token or key with scopes.
    pub const SERVICE: u32 = 3;
    /// An operator of this host.
    pub const OPERATOR: u32 = 4;
}

/// Who calls. Ids that are all zero are absent; `role` is 0 outside a family, else its place in OWNER, ADMIN, ADULT_MEMBER,
/// YOUTH_MEMBER, CHILD_MEMBER, DEVICE counted from 1. Append-only.
#[repr(C)]
pub struct Principal<'a> {
    /// Size of this struct in the image that made it.
    pub size: usize,
    /// One of [`kind`].
    pub kind: u32,
    /// Role in the active family.
    pub role: u32,
    /// Authenticator assurance level, 1 to 3 (NIST SP 800-63B).
    pub aal: u32,
    /// 1 inside the step-up window.
    pub elevated: u32,
    /// Seconds since the epoch at which the credential ends; 0 for never.
    pub expires_at: u64,
    /// The user.
    pub user_id: [u8; 16],
    /// The session.
    pub session_id: [u8; 16],
    /// The active family.
    pub family_id: [u8; 16],
    /// The membership in the active family.
    pub member_id: [u8; 16],
    /// The paired machine.
    pub device_id: [u8; 16],
    /// Subject as the credential names it.
    pub subject: Str<'a>,
    /// Scopes, separated by spaces.
    pub scopes: Str<'a>,
}

/// What the host implements: the head of one request.
pub trait RequestProvider: Send + Sync + 'static {
    /// Upper-case method.
    fn method(&self) -> &str;
    /// Path as received.
    fn path(&self) -> &str;
    /// Query string without `?`.
    fn query(&self) -> Option<&str>;
    /// Value of the first header of that lower-case name.
    fn header(&self, name: &str) -> Option<&[u8]>;
    /// Header by position.
    fn header_at(&self, index: usize) -> Option<(&str, &[u8])>;
    /// Path parameter by position: name and percent-decoded value.
    fn param(&self, index: usize) -> Option<(&str, &str)>;
    /// Who calls.
    fn principal(&self) -> Option<Principal<'_>>;
    /// Address of the caller.
    fn peer(&self) -> &str;
    /// Id of the request, as in `x-request-id`.
    fn request_id(&self) -> &str;
    /// W3C trace context to send on.
    fn traceparent(&self) -> &str;
}

/// Function table of a request head.
#[repr(C)]
pub struct HeadTable {
    size: usize,
    release: unsafe extern "C" fn(*mut ()),
    method: unsafe extern "C" fn(*const ()) -> Str<'static>,
    path: unsafe extern "C" fn(*const ()) -> Str<'static>,
    query: unsafe extern "C" fn(*const ()) -> Str<'static>,
    header: unsafe extern "C" fn(*const (), Str<'_>) -> Str<'static>,
    header_at: unsafe extern "C" fn(*const (), usize, *mut Str<'static>) -> Str<'static>,
    param: unsafe extern "C" fn(*const (), usize, *mut Str<'static>) -> Str<'static>,
    principal: unsafe extern "C" fn(*const (), *mut Principal<'static>, usize) -> u32,
    peer: unsafe extern "C" fn(*const ()) -> Str<'static>,
    request_id: unsafe extern "C" fn(*const ()) -> Str<'static>,
    traceparent: unsafe extern "C" fn(*const ()) -> Str<'static>,
}

/// A request: its head, to be asked, and its body, to be read once.
#[repr(C)]
pub struct Request {
    head: *mut (),
    table: *const HeadTable,
    body: Stream,
}

// SAFETY: the head is a box of a `Send + Sync` provider.
unsafe impl Send for Request {}
// SAFETY: as above.
unsafe impl Sync for Request {}

struct Statics<P>(PhantomData<P>);

/// Lends `text` without its lifetime; the caller's handle bounds it again.
fn lend(text: Option<&[u8]>) -> Str<'static> {
    text.map_or_else(Str::none, |bytes| {
        let (ptr, len) = (bytes.as_ptr(), bytes.len());
        // SAFETY: the accessors below shorten this to the borrow of the request that owns the bytes.
        Str::from_bytes(unsafe { std::slice::from_raw_parts(ptr, len) })
    })
}

unsafe fn provider<'a, P>(head: *const ()) -> &'a P {
    // SAFETY: the head is the box that `Request::new` leaked; the caller holds the request.
    unsafe { &*head.cast::<P>() }
}

macro_rules! text {
    ($name:ident, $access:expr) => {
        unsafe extern "C" fn $name<P: RequestProvider>(head: *const ()) -> Str<'static> {
            // SAFETY: called with a live head only.
            let provider = unsafe { provider::<P>(head) };
            let access: fn(&P) -> Option<&str> = $access;
            guard(|| lend(access(provider).map(str::as_bytes))).unwrap_or_default()
        }
    };
}

text!(method, |p| Some(p.method()));
text!(path, |p| Some(p.path()));
text!(query, |p| p.query());
text!(peer, |p| Some(p.peer()));
text!(request_id, |p| Some(p.request_id()));
text!(traceparent, |p| Some(p.traceparent()));

unsafe extern "C" fn header<P: RequestProvider>(head: *const (), name: Str<'_>) -> Str<'static> {
    // SAFETY: called with a live head only.
    let provider = unsafe { provider::<P>(head) };
    guard(|| lend(provider.header(name.as_str()))).unwrap_or_default()
}

unsafe extern "C" fn header_at<P: RequestProvider>(
    head: *const (),
    index: usize,
    value: *mut Str<'static>,
) -> Str<'static> {
    // SAFETY: called with a live head only.
    let provider = unsafe { provider::<P>(head) };
    let found = guard(|| provider.header_at(index)).ok().flatten();
    // SAFETY: the caller passes a place for the value.
    unsafe { *value = lend(found.map(|(_, value)| value)) };
    lend(found.map(|(name, _)| name.as_bytes()))
}

unsafe extern "C" fn param<P: RequestProvider>(
    head: *const (),
    index: usize,
    value: *mut Str<'static>,
) -> Str<'static> {
    // SAFETY: called with a live head only.
    let provider = unsafe { provider::<P>(head) };
    let found = guard(|| provider.param(index)).ok().flatten();
    // SAFETY: the caller passes a place for the value.
    unsafe { *value = lend(found.map(|(_, value)| value.as_bytes())) };
    lend(found.map(|(name, _)| name.as_bytes()))
}

unsafe extern "C" fn principal<P: RequestProvider>(
    head: *const (),
    out: *mut Principal<'static>,
    size: usize,
) -> u32 {
    // SAFETY: called with a live head only.
    let provider = unsafe { provider::<P>(head) };
    let Some(mut found) = guard(|| provider.principal()).ok().flatten() else {
        return 0;
    };
    let written = size.min(size_of::<Principal<'_>>());
    found.size = written;
    // SAFETY: `out` has room for `size` bytes; a reader that knows fewer fields gets only those.
    unsafe { ptr::copy_nonoverlapping((&raw const found).cast::<u8>(), out.cast::<u8>(), written) };
    1
}

unsafe extern "C" fn release<P>(head: *mut ()) {
    // SAFETY: the head is the box that `Request::new` leaked, given up once.
    let head = unsafe { Box::from_raw(head.cast::<P>()) };
    guard_drop(|| drop(head));
}

impl<P: RequestProvider> Statics<P> {
    const TABLE: HeadTable = HeadTable {
        size: size_of::<HeadTable>(),
        release: release::<P>,
        method: method::<P>,
        path: path::<P>,
        query: query::<P>,
        header: header::<P>,
        header_at: header_at::<P>,
        param: param::<P>,
        principal: principal::<P>,
        peer: peer::<P>,
        request_id: request_id::<P>,
        traceparent: traceparent::<P>,
    };
}

macro_rules! ask {
    ($(#[$meta:meta])* $name:ident -> $Ret:ty, $read:ident) => {
        $(#[$meta])*
        pub fn $name(&self) -> $Ret {
            // SAFETY: head and table belong together and live as long as `self`, which bounds the answer.
            unsafe { ((*self.table).$name)(self.head) }.$read()
        }
    };
}

#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "reading a function pointer from the table and calling it is one step"
)]
impl Request {
    /// A request for the other side.
    pub fn new<P: RequestProvider>(head: Box<P>, body: Stream) -> Self {
        Self {
            head: Box::into_raw(head).cast(),
            table: const { &Statics::<P>::TABLE },
            body,
        }
    }

    ask!(/// Upper-case method.
        method -> &str, as_str);
    ask!(/// Path as received.
        path -> &str, as_str);
    ask!(/// Query string without `?`.
        query -> Option<&str>, to_option);
    ask!(/// Address of the caller.
        peer -> &str, as_str);
    ask!(/// Id of the request.
        request_id -> &str, as_str);
    ask!(/// W3C trace context to send on.
        traceparent -> &str, as_str);

    /// Value of the first header of that lower-case name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        // SAFETY: head and table belong together and live as long as `self`, which bounds the answer.
        unsafe { ((*self.table).header)(self.head, name.into()) }.bytes()
    }

    /// Header by position: name and value.
    pub fn header_at(&self, index: usize) -> Option<(&str, &[u8])> {
        let mut value = Str::none();
        // SAFETY: as in `header`; `value` is a place for one.
        let name = unsafe { ((*self.table).header_at)(self.head, index, &raw mut value) };
        Some((name.to_option()?, value.bytes()?))
    }

    /// Path parameter by position: name and value.
    pub fn param(&self, index: usize) -> Option<(&str, &str)> {
        let mut value = Str::none();
        // SAFETY: as in `header`; `value` is a place for one.
        let name = unsafe { ((*self.table).param)(self.head, index, &raw mut value) };
        Some((name.to_option()?, value.to_option()?))
    }

    /// Who calls, if anybody has been identified.
    pub fn principal(&self) -> Option<Principal<'_>> {
        let mut principal = Principal::default();
        // SAFETY: as in `header`; `principal` is a place for one of the size that is passed.
        let found = unsafe {
            ((*self.table).principal)(self.head, (&raw mut principal).cast(), principal.size)
        };
        (found != 0).then_some(principal)
    }

    /// Takes the body; a second call gets an empty one.
    pub fn take_body(&mut self) -> Stream {
        std::mem::take(&mut self.body)
    }
}

impl Default for Principal<'_> {
    fn default() -> Self {
        Self {
            size: size_of::<Self>(),
            kind: 0,
            role: 0,
            aal: 0,
            elevated: 0,
            expires_at: 0,
            user_id: [0; 16],
            session_id: [0; 16],
            family_id: [0; 16],
            member_id: [0; 16],
            device_id: [0; 16],
            subject: Str::none(),
            scopes: Str::none(),
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        // SAFETY: every table has `release`.
        let release = unsafe { (*self.table).release };
        // SAFETY: called once, with the head that belongs to the table.
        unsafe { release(self.head) };
    }
}

layout!(PRINCIPAL: Principal<'static> {
    size: usize,
    kind: u32,
    role: u32,
    aal: u32,
    elevated: u32,
    expires_at: u64,
    user_id: [u8; 16],
    session_id: [u8; 16],
    family_id: [u8; 16],
    member_id: [u8; 16],
    device_id: [u8; 16],
    subject: Str<'static>,
    scopes: Str<'static>,
});
layout!(HEAD_TABLE: HeadTable {
    size: usize,
    release: unsafe extern "C" fn(*mut ()),
    method: unsafe extern "C" fn(*const ()) -> Str<'static>,
    path: unsafe extern "C" fn(*const ()) -> Str<'static>,
    query: unsafe extern "C" fn(*const ()) -> Str<'static>,
    header: unsafe extern "C" fn(*const (), Str<'_>) -> Str<'static>,
    header_at: unsafe extern "C" fn(*const (), usize, *mut Str<'static>) -> Str<'static>,
    param: unsafe extern "C" fn(*const (), usize, *mut Str<'static>) -> Str<'static>,
    principal: unsafe extern "C" fn(*const (), *mut Principal<'static>, usize) -> u32,
    peer: unsafe extern "C" fn(*const ()) -> Str<'static>,
    request_id: unsafe extern "C" fn(*const ()) -> Str<'static>,
    traceparent: unsafe extern "C" fn(*const ()) -> Str<'static>,
});
layout!(REQUEST: Request {
    head: *mut (),
    table: *const HeadTable,
    body: Stream,
});

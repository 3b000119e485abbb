//! Sizes and offsets of everything that crosses: what `plugin-api/abi-layout.txt` holds and a test compares.
//!
//! A released line never changes; a table grows at its end, which shows as appended lines and a larger `size_of`.

use std::fmt::Write;

use super::{
    bytes, capability as c, entry, error, extension, future, instance, request, response, stream,
};

/// A type and the places of its fields, the first of which is called `size_of`.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// The type.
    pub name: &'static str,
    /// Fields and offsets, in order.
    pub fields: &'static [(&'static str, usize)],
}

/// `layout!(NAME: Type { fields })` makes the constant `NAME` with the type's layout.
macro_rules! layout {
    ($NAME:ident: $Type:ty { $($field:ident),* $(,)? }) => {
        #[doc = concat!("Layout of `", stringify!($Type), "`.")]
        pub(in crate::abi) const $NAME: $crate::abi::layout::Layout = $crate::abi::layout::Layout {
            name: stringify!($Type),
            fields: &[
                ("size_of", size_of::<$Type>()),
                $( (stringify!($field), std::mem::offset_of!($Type, $field)), )*
            ],
        };
    };
}

pub(in crate::abi) use layout;

macro_rules! tables {
    ($($Type:path),* $(,)?) => { [$( Layout { name: <$Type>::ID, fields: <$Type>::LAYOUT } ),*] };
}

/// Every type and table of the boundary.
pub fn all() -> Vec<Layout> {
    let types = [
        bytes::SLICE,
        bytes::STR,
        bytes::BYTES,
        bytes::OPT_BYTES,
        error::ERROR,
        error::OUTCOME,
        future::WAKER_BASE,
        future::WAKER_VTABLE,
        future::FUT,
        future::FUT_VTABLE,
        stream::STREAM,
        stream::STREAM_VTABLE,
        request::PRINCIPAL,
        request::HEAD_TABLE,
        request::REQUEST,
        response::MESSAGE,
        response::RESPONSE,
        entry::ENTRY,
        entry::RAW_HANDLE,
        c::db::COLUMN,
        c::db::CELL,
        c::db::ROWS,
        c::kv::TAKE,
    ];
    let tables = tables![
        entry::Host,
        instance::Instance,
        response::Socket,
        response::Upgrade,
        c::call::Call,
        c::clock::Clock,
        c::config::Config,
        c::crypto::Crypto,
        c::db::Db,
        c::db::Session,
        c::db::CopyIn,
        c::handlers::Handlers,
        c::http::Http,
        c::identity::Identity,
        c::kv::Kv,
        c::listen::Listen,
        c::listen::Listener,
        c::listen::Connection,
        c::log::Log,
        c::metrics::Metrics,
        c::task::Tasks,
        c::task::Work,
        c::task::Lease,
        extension::JobHandlers,
    ];
    types.into_iter().chain(tables).collect()
}

/// One line per field: `type.field offset`.
pub fn text() -> String {
    let mut text = String::new();
    for layout in all() {
        for (field, offset) in layout.fields {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{}.{field} {offset}", layout.name);
        }
    }
    text
}

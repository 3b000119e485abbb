//! Sizes, offsets and types of everything that crosses: what `plugin-api/abi-layout.txt` holds and a test compares.
//!
//! A released line never changes, except for the size of a table: that grows at its end, which shows as appended lines and a
//! larger `size_of`.

use std::fmt::Write;

use super::{
    bytes, capability as c, entry, error, extension, future, instance, request, response, stream,
};

/// A type and its fields.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// The type.
    pub name: &'static str,
    /// How many bytes it takes.
    pub size: usize,
    /// Its fields, in order.
    pub fields: &'static [Field],
}

/// A field: two functions of a table can lie at the same place and take different arguments, so the type belongs to it.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// What it is called.
    pub name: &'static str,
    /// Where it lies.
    pub offset: usize,
    /// What it is, as it is written in the source.
    pub kind: &'static str,
}

/// `layout!(NAME: Type { field: Type })` makes the constant `NAME` with the type's layout.
macro_rules! layout {
    ($NAME:ident: $Type:ty { $($field:ident: $Kind:ty),* $(,)? }) => {
        #[doc = concat!("Layout of `", stringify!($Type), "`.")]
        pub(in crate::abi) const $NAME: $crate::abi::layout::Layout = {
            // What is written here is what the field is.
            $( let _: for<'x> fn(&'x $Type) -> &'x $Kind = |value| &value.$field; )*
            $crate::abi::layout::Layout {
                name: stringify!($Type),
                size: size_of::<$Type>(),
                fields: &[
                    $( $crate::abi::layout::Field {
                        name: stringify!($field),
                        offset: std::mem::offset_of!($Type, $field),
                        kind: stringify!($Kind),
                    }, )*
                ],
            }
        };
    };
}

pub(in crate::abi) use layout;

macro_rules! tables {
    ($($Type:path),* $(,)?) => { [$( <$Type>::LAYOUT ),*] };
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
        c::hub::FRAME,
        c::hub::FRAME_TABLE,
    ];
    let tables = tables![
        entry::Host,
        instance::Instance,
        response::Socket,
        response::Upgrade,
        c::call::Call,
        c::clock::Clock,
        c::config::Config,
        c::connect::Connect,
        c::connect::Outgoing,
        c::crypto::Crypto,
        c::db::Db,
        c::db::Session,
        c::db::CopyIn,
        c::dump::Dump,
        c::handlers::Handlers,
        c::http::Http,
        c::hub::Hub,
        c::hub::Connection,
        c::hub::Topic,
        c::identity::Identity,
        c::kv::Kv,
        c::listen::Listen,
        c::listen::Listener,
        c::listen::Connection,
        c::log::Log,
        c::metrics::Metrics,
        c::policy::Policy,
        c::process::Process,
        c::process::Running,
        c::pubsub::PubSub,
        c::task::Tasks,
        c::task::Work,
        c::task::Lease,
        c::tokens::Tokens,
        extension::JobHandlers,
    ];
    types.into_iter().chain(tables).collect()
}

/// One line per field: `type.field offset kind`.
pub fn text() -> String {
    let mut text = String::new();
    for Layout { name, size, fields } in all() {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name}.size_of {size}");
        for field in fields {
            // Compilers differ in where they break long types.
            let words: Vec<_> = field.kind.split_whitespace().collect();
            let kind = words.join(" ").replace(", )", ")");
            let _ = writeln!(text, "{name}.{} {} {kind}", field.name, field.offset);
        }
    }
    text
}

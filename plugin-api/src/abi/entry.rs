//! The frozen root: the one symbol that a plugin exports, and the one interface that it is given.

use super::layout::layout;
use super::{bytes::Str, error::Outcome, future::Fut, instance::Instance, interface::interface};

/// Name of the exported symbol.
pub const SYMBOL: &str = "nself_plugin_entry";

/// First bytes of an [`Entry`].
pub const MAGIC: [u8; 8] = *b"nself\0\r\n";

/// The symbol `nself_plugin_entry`: plain data, so that looking at it runs nothing. Frozen for the life of the major.
#[repr(C)]
pub struct Entry {
    magic: [u8; 8],
    major: u32,
    needs: u32,
    size: usize,
    create: unsafe extern "C" fn(Host, Str<'_>) -> Fut<Instance>,
}

/// Why an entry is not usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryError {
    /// It does not start with the magic bytes, or is too short.
    NotAnEntry,
    /// Its boundary numbers (major, needs) differ from those of the manifest.
    Version(u32, u32),
}

impl Entry {
    /// The entry of a plugin whose instance is made by `create`; `needs` as in its manifest.
    pub const fn new(
        needs: u32,
        create: unsafe extern "C" fn(Host, Str<'_>) -> Fut<Instance>,
    ) -> Self {
        Self {
            magic: MAGIC,
            major: super::MAJOR,
            needs,
            size: size_of::<Self>(),
            create,
        }
    }

    /// The entry at `symbol`, once its numbers agree with the note's.
    ///
    /// # Errors
    ///
    /// [`EntryError`] when it is none or when note and entry disagree.
    ///
    /// # Safety
    ///
    /// `symbol` is the address of `nself_plugin_entry` in a library that is never unloaded.
    pub unsafe fn read(
        symbol: *const (),
        major: u32,
        needs: u32,
    ) -> Result<&'static Self, EntryError> {
        // SAFETY: the loader found the symbol; its size in the file has been checked against the smallest entry.
        let entry = unsafe { &*symbol.cast::<Self>() };
        if entry.magic != MAGIC || entry.size < size_of::<Self>() {
            return Err(EntryError::NotAnEntry);
        }
        if (entry.major, entry.needs) != (major, needs) {
            return Err(EntryError::Version(entry.major, entry.needs));
        }
        Ok(entry)
    }

    /// Makes an instance. May be called any number of times; instances do not know each other.
    pub fn create(&self, host: Host, config: &str) -> Fut<Instance> {
        // SAFETY: the function belongs to the entry's image and takes what its type says.
        unsafe { (self.create)(host, config.into()) }
    }
}

interface! {
    /// What an instance is given: everything else is asked for by id. Frozen.
    pub interface Host: HostProvider / HostTable = "nself.host/1" {
        /// The capability with this id; null when it is unknown or not granted.
        sync fn capability(id: Str<'_>) -> RawHandle;
    }
}

/// An interface handle on its way across, its type told by the id that was asked for.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct RawHandle {
    pub(crate) context: *const (),
    pub(crate) table: *const (),
}

impl Default for RawHandle {
    fn default() -> Self {
        Self {
            context: std::ptr::null(),
            table: std::ptr::null(),
        }
    }
}

macro_rules! capabilities {
    ($($(#[$meta:meta])* $method:ident: $Type:path),* $(,)?) => {
        /// A capability by type, on its way to a plugin.
        pub enum Capability {
            $( #[doc = concat!("`", stringify!($Type), "`")] $method($Type), )*
        }

        impl Capability {
            /// Ids of all capabilities that this boundary knows.
            pub const IDS: &'static [&'static str] = &[$(<$Type>::ID),*];

            /// Gives the capability up as the pair that crosses.
            pub fn into_raw(self) -> RawHandle {
                match self {
                    $( Self::$method(handle) => handle.into_raw(), )*
                }
            }

            /// Gives the capability up as what another process calls.
            pub fn into_object(self) -> Box<dyn Object> {
                match self {
                    $( Self::$method(handle) => Box::new(handle), )*
                }
            }

            /// The capability with this id that another process has; nothing when this boundary does not know the id.
            pub fn remote(id: &str, object: RemoteObject) -> Option<Self> {
                match id {
                    $( <$Type>::ID => Some(Self::$method(<$Type>::new(Arc::new(Remote::<$Type>::new(object))))), )*
                    _ => None,
                }
            }
        }

        impl Host {
            $(
                #[doc = concat!("The capability `", stringify!($Type), "`, if this plugin has been granted it.")]
                pub fn $method(&self) -> Option<$Type> {
                    let raw = self.capability(<$Type>::ID.into());
                    // SAFETY: the host answers an id with a handle of the interface of that id.
                    unsafe { <$Type>::from_raw(raw) }
                }
            )*
        }
    };
}

#[expect(
    non_camel_case_types,
    reason = "the variants share their names with the methods"
)]
mod list {
    use std::sync::Arc;

    use super::{
        super::{
            capability as c,
            wire::{Object, Remote, RemoteObject},
        },
        Host, RawHandle,
    };

    capabilities! {
        call: c::call::Call,
        clock: c::clock::Clock,
        config: c::config::Config,
        connect: c::connect::Connect,
        crypto: c::crypto::Crypto,
        db: c::db::Db,
        dump: c::dump::Dump,
        handlers: c::handlers::Handlers,
        http: c::http::Http,
        hub: c::hub::Hub,
        identity: c::identity::Identity,
        kv: c::kv::Kv,
        listen: c::listen::Listen,
        log: c::log::Log,
        metrics: c::metrics::Metrics,
        policy: c::policy::Policy,
        process: c::process::Process,
        pubsub: c::pubsub::PubSub,
        task: c::task::Tasks,
        tokens: c::tokens::Tokens,
    }
}

pub use list::Capability;

impl<T> Default for Outcome<T> {
    /// What a caller sees of a synchronous call whose provider panicked.
    fn default() -> Self {
        Err(super::error::Error::panic(
            "the provider panicked".to_owned(),
        ))
        .into()
    }
}

layout!(ENTRY: Entry {
    magic: [u8; 8],
    major: u32,
    needs: u32,
    size: usize,
    create: unsafe extern "C" fn(Host, Str<'_>) -> Fut<Instance>,
});
layout!(RAW_HANDLE: RawHandle {
    context: *const (),
    table: *const (),
});

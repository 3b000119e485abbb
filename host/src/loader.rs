//! From a file in the plugin directory to code in this process: discover, check, keep, open.
//!
//! No instruction of a plugin runs before every gate in [`check()`] has passed, because `dlopen` is no gate: it is killed
//! by a truncated file, hangs on a FIFO and runs constructors before anybody can ask a question. What was checked is
//! kept in a private store under its hash, and that copy is opened, so nobody can swap the file in between.
//!
//! ```text
//! discover(directory) -> check(file) -> store::keep(checked) -> open(kept)
//! ```
//!
//! [`open()`], what [`memory`] tells the allocator, what [`inherited`] marks and what [`crash`] catches are the only unsafe code here.
//! Nothing that is opened is ever closed again.

mod check;
pub mod crash;
mod declared;
mod discover;
mod elf;
mod entry;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod inherited;
pub mod memory;
mod note;
mod open;
mod refusal;
mod sha256;
mod signature;
mod source;
pub mod store;
mod system;

pub use check::{CheckedPlugin, Described, Host, HostAbi, check, describe};
pub use discover::{Discovered, PLUGIN_FILES_MAX, discover};
pub use entry::entry;
pub use note::MANIFEST_BYTES_MAX;
pub use open::{AddressRange, ENTRY_SYMBOL, Loaded, open};
pub use refusal::{
    DirectoryFault, ElfFault, FileFault, ManifestFault, Refusal, StoreFault, one_line, one_line_of,
};
pub use sha256::{Sha256, Sha256Error};
pub use signature::{Judged, OWN_NAME, Policy, SignatureFault, Signed, Signer, Trust, TrustedKey};
pub use source::{PLUGIN_BYTES_MAX, signature_of};
pub use store::{Kept, keep};
pub use system::System;

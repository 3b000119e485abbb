//! Catalogues: one static file that says which plugins there are, in which versions, for which hosts, and where their archives lie.
//!
//! The file is `index.json`, its signature `index.json.minisig`; both lie on any web server or in any directory, beside the archives
//! or elsewhere. What is believed of it: nothing without a signature where the policy asks for one; nothing that is older than what
//! was seen before from the same place; nothing after it has expired; and no archive that has another hash than it says.

mod choose;
mod index;
mod place;
mod seen;

pub use choose::{ChooseError, Wanted, choose};
pub use index::{INDEX_BYTES_MAX, Index, IndexError, PluginEntry, Release};
pub use place::{Place, PlaceError};
pub use seen::{SeenError, note};

/// What the file of a catalogue is called.
pub const FILE_NAME: &str = "index.json";

//! From a mapped file to the boundary: the entry, once it agrees with the manifest.

use nself_plugin_api::abi::entry::{Entry, EntryError};

use super::{Loaded, Refusal};

/// The entry of a loaded plugin, whose manifest speaks this boundary.
///
/// # Errors
///
/// [`Refusal::Open`] when what stands at the symbol is no entry, or has other numbers than the manifest.
pub fn entry(loaded: &Loaded, major: u32, needs: u32) -> Result<&'static Entry, Refusal> {
    // SAFETY: the address is that of `nself_plugin_entry` in a library that is mapped until the process ends.
    let read = unsafe { Entry::read(loaded.entry.as_ptr().cast_const(), major, needs) };
    read.map_err(|error| Refusal::Open {
        file: loaded.file.clone(),
        reason: match error {
            EntryError::NotAnEntry => "its entry does not start with the boundary's magic bytes: build it with nself-plugin-api".to_owned(),
            EntryError::Version(its_major, its_needs) => format!(
                "its entry speaks boundary {its_major}.{its_needs}, its manifest {major}.{needs}: the file is damaged or was put together by hand"
            ),
        },
    })
}

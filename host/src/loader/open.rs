//! From a kept file to its entry: where the code of plugins comes in.

use std::error::Error;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW, Symbol};

use super::refusal::{Refusal, one_line};
use super::store::Kept;

/// The one symbol that a plugin exports: data, described in `plugin-api`'s `abi`.
pub const ENTRY_SYMBOL: &str = "nself_plugin_entry";

/// Addresses that a loaded file occupies.
pub type AddressRange = Range<usize>;

/// A plugin's code in this process. It stays mapped until the process ends, whatever becomes of this value.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The plugin's entry: `ENTRY_SYMBOL`'s address, valid for reading as long as the process lives. What stands
    /// there is the plugin's word only; compare its magic and numbers before believing more.
    pub entry: NonNull<()>,
    /// Where its code and data lie: an address in here belongs to this plugin. Empty when the system does not tell.
    pub range: AddressRange,
    /// The part of it that can be run.
    pub code: AddressRange,
    /// The file in the store that is mapped.
    pub file: PathBuf,
}

// SAFETY: `entry` points to a static of a library that is never unmapped; the pointer itself has no owner and no state.
unsafe impl Send for Loaded {}
// SAFETY: as for `Send`: sharing the address shares nothing that this type changes.
unsafe impl Sync for Loaded {}

/// Opens a kept plugin. Its constructors run here, on this thread.
///
/// **Blocks** for the time of mapping and relocating (about 0.1 ms) and of whatever its constructors do.
///
/// # Errors
///
/// [`Refusal::Open`] when the system's loader refuses it, or its entry is not where it was promised.
pub fn open(kept: &Kept) -> Result<Loaded, Refusal> {
    let file = kept.path();
    let refuse = |error: &dyn Error| Refusal::Open {
        file: file.to_owned(),
        reason: one_line(&root_cause(error)),
    };
    // RTLD_NOW: a missing symbol must be an error here, not an abort at the first call. RTLD_LOCAL: plugins must not
    // see each other's symbols.
    // SAFETY: the file is our private copy of bytes that passed `check`: a whole library for this machine, its owner
    // trusted by the operator, whose constructors are thereby trusted too. `Kept` can only be made by the store.
    let library = unsafe { Library::open(Some(file), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|error| refuse(&error))?;
    // SAFETY: what the symbol is typed as plays no part: nothing is read through it, only its address is taken.
    let symbol = unsafe { library.get::<*mut ()>(ENTRY_SYMBOL) }.map(Symbol::as_raw_ptr);
    // Closing would unmap code that thread-locals and wakers may still point into: no path leads to dlclose.
    let _ = library.into_raw();
    let address = symbol.map_err(|error| refuse(&error))?;
    let entry = NonNull::new(address.cast::<()>())
        .ok_or_else(|| refuse(&io::Error::other("its entry is null")))?;
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mapped = mapped_at(&maps, entry.as_ptr().addr()).unwrap_or_default();
    Ok(Loaded {
        entry,
        range: mapped.whole,
        code: mapped.code,
        file: file.to_owned(),
    })
}

/// `libloading` says what failed; the system's words, which name the symbol or library, stand below that.
fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Where a file is mapped.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mapped {
    /// From its first byte to its last.
    pub(super) whole: AddressRange,
    /// What of it can be run; empty when nothing can.
    pub(super) code: AddressRange,
}

/// The file around an address, from the lines of `/proc/self/maps`: `start-end rights offset device inode path`.
pub(super) fn mapped_at(maps: &str, address: usize) -> Option<Mapped> {
    let mappings: Vec<Mapping<'_>> = maps.lines().filter_map(Mapping::parse).collect();
    let file = mappings
        .iter()
        .find(|mapping| mapping.range.contains(&address))?
        .file;
    let of_file = mappings.iter().filter(|mapping| mapping.file == file);
    let runs = of_file.clone().filter(|mapping| mapping.runs);
    Some(Mapped {
        whole: around(of_file)?,
        code: around(runs).unwrap_or_default(),
    })
}

/// The range that all of these lie in.
fn around<'a>(mappings: impl Iterator<Item = &'a Mapping<'a>>) -> Option<AddressRange> {
    mappings
        .map(|mapping| mapping.range.clone())
        .reduce(|whole, part| whole.start.min(part.start)..whole.end.max(part.end))
}

/// One line.
struct Mapping<'a> {
    range: AddressRange,
    runs: bool,
    file: &'a str,
}

impl<'a> Mapping<'a> {
    /// Nothing for memory without a file.
    fn parse(line: &'a str) -> Option<Self> {
        let file = &line[line.find('/')?..];
        let (range, rights) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let parse = |text| usize::from_str_radix(text, 16).ok();
        Some(Self {
            range: parse(start)?..parse(end)?,
            runs: rights.as_bytes().get(2) == Some(&b'x'),
            file,
        })
    }
}

impl Loaded {
    /// Does this code address belong to the plugin?
    pub fn contains(&self, address: usize) -> bool {
        self.range.contains(&address)
    }

    /// The file in the store that is mapped.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
1000-2000 r--p 00000000 08:01 7 /store/a.so
2000-4000 r-xp 00001000 08:01 7 /store/a.so
4000-5000 rw-p 00000000 00:00 0
5000-6000 r--p 00000000 08:01 8 /store/b.so
";

    #[test]
    fn an_address_is_attributed_to_the_whole_file_around_it() {
        let whole = |address| mapped_at(MAPS, address).map(|mapped| mapped.whole);
        assert_eq!(whole(0x2345), Some(0x1000..0x4000));
        assert_eq!(whole(0x5000), Some(0x5000..0x6000));
        assert_eq!(whole(0x4800), None);
        assert_eq!(whole(0x9000), None);
        let code = |address| mapped_at(MAPS, address).map(|mapped| mapped.code);
        assert_eq!(code(0x1000), Some(0x2000..0x4000));
        assert_eq!(code(0x5000), Some(0..0));
    }
}

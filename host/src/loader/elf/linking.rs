//! The dynamic section: what the library exports, imports and relocates.

use std::fs::File;

use object::elf::{self, DynamicTag};
use object::read::ReadCache;
use object::read::elf::{Dynamic, SectionHeader as _, SectionTable, Sym as _};
use object::read::elf::{FileHeader as _, ProgramHeader as _};

use super::layout::Segment;
use super::{ENDIAN, Header};
use crate::loader::open::ENTRY_SYMBOL;
use crate::loader::refusal::ElfFault;

/// Most versioned symbols' names that a library may ask for; a real one asks for about twenty.
const VERSIONS_MAX: usize = 4096;

/// What a library needs of others.
#[derive(Debug, Default)]
pub(in crate::loader) struct Imports {
    /// File names of shared libraries.
    pub(in crate::loader) libraries: Vec<String>,
    /// Library and the version name that it must define, such as `libc.so.6` and `GLIBC_2.34`.
    pub(in crate::loader) versions: Vec<(String, String)>,
    /// It carries its own search path for libraries.
    pub(in crate::loader) search_path: bool,
}

/// `dlopen` believes the dynamic segment, we read the sections: both must tell one story, inside the mapped file.
pub(super) fn tables_agree(
    bytes: &[u8],
    segments: &[Segment],
    sections: &SectionTable<'_, Header>,
) -> Result<(), ElfFault> {
    let is_dynamic = |segment: &&Segment| segment.p_type(ENDIAN) == elf::PT_DYNAMIC;
    let segment = segments
        .iter()
        .find(is_dynamic)
        .map(|segment| segment.file_range(ENDIAN));
    let section = sections
        .iter()
        .find(|section| section.sh_type(ENDIAN) == elf::SHT_DYNAMIC);
    if section.and_then(|section| section.file_range(ENDIAN)) != segment {
        return Err(ElfFault::Damaged("two different dynamic sections"));
    }
    for entry in entries(bytes, sections)? {
        if entry.tag == elf::DT_TEXTREL || entry.tag == elf::DT_FLAGS && entry.val & DF_TEXTREL != 0
        {
            return Err(ElfFault::TextRelocations);
        }
        if entry.tag == elf::DT_FLAGS_1 && entry.val & DF_1_PIE != 0 {
            return Err(ElfFault::Kind("a program"));
        }
        if POINTERS.contains(&entry.tag) && !mapped_from_file(segments, entry.val) {
            return Err(ElfFault::Damaged(
                "its dynamic section points outside the file",
            ));
        }
    }
    Ok(())
}

const DF_TEXTREL: u64 = 0x4;
const DF_1_PIE: u64 = 0x0800_0000;

/// Entries that the loader follows without a look.
const POINTERS: [DynamicTag; 12] = [
    elf::DT_STRTAB,
    elf::DT_SYMTAB,
    elf::DT_HASH,
    elf::DT_GNU_HASH,
    elf::DT_RELA,
    elf::DT_JMPREL,
    elf::DT_INIT,
    elf::DT_FINI,
    elf::DT_INIT_ARRAY,
    elf::DT_FINI_ARRAY,
    elf::DT_VERSYM,
    elf::DT_VERNEED,
];

fn mapped_from_file(segments: &[Segment], address: u64) -> bool {
    segments
        .iter()
        .filter(|segment| segment.p_type(ENDIAN) == elf::PT_LOAD)
        .any(|segment| {
            let start = segment.p_vaddr(ENDIAN);
            address
                .checked_sub(start)
                .is_some_and(|offset| offset < segment.p_filesz(ENDIAN))
        })
}

/// The one exported symbol is there, and it is data: looking it up runs nothing.
pub(super) fn entry_is_data(
    bytes: &[u8],
    segments: &[Segment],
    sections: &SectionTable<'_, Header>,
) -> Result<(), ElfFault> {
    let symbols = sections
        .symbols(ENDIAN, bytes, elf::SHT_DYNSYM)
        .map_err(|_| ElfFault::Damaged("its dynamic symbols"))?;
    let entry = symbols
        .iter()
        .filter(|symbol| !symbol.is_undefined(ENDIAN) && !symbol.is_local())
        .find(|symbol| symbols.symbol_name(ENDIAN, symbol) == Ok(ENTRY_SYMBOL.as_bytes()))
        .ok_or(ElfFault::NoEntry(ENTRY_SYMBOL))?;
    if !matches!(entry.st_type(), elf::STT_OBJECT | elf::STT_NOTYPE) {
        return Err(ElfFault::EntryKind(ENTRY_SYMBOL));
    }
    if !mapped_from_file(segments, entry.st_value(ENDIAN)) {
        return Err(ElfFault::Damaged("its entry lies outside the file"));
    }
    Ok(())
}

/// Reads what the library needs of others.
pub(super) fn imports(
    bytes: &[u8],
    sections: &SectionTable<'_, Header>,
) -> Result<Imports, ElfFault> {
    let mut imports = Imports {
        versions: needed_versions(bytes, sections)?,
        ..Imports::default()
    };
    let table = sections.dynamic_table(ENDIAN, bytes).map_err(|_| DYNAMIC)?;
    for entry in &table {
        if entry.tag == elf::DT_NEEDED {
            imports
                .libraries
                .push(text(table.string(entry).map_err(|_| DYNAMIC)?));
        }
        imports.search_path |= entry.tag == elf::DT_RPATH || entry.tag == elf::DT_RUNPATH;
    }
    Ok(imports)
}

const DYNAMIC: ElfFault = ElfFault::Damaged("its dynamic section");
const VERSIONS: ElfFault = ElfFault::Damaged("its table of symbol versions");

fn entries<'data>(
    bytes: &'data [u8],
    sections: &SectionTable<'data, Header>,
) -> Result<impl Iterator<Item = Dynamic>, ElfFault> {
    let table = sections.dynamic_table(ENDIAN, bytes).map_err(|_| DYNAMIC)?;
    Ok(table.iter())
}

fn needed_versions(
    bytes: &[u8],
    sections: &SectionTable<'_, Header>,
) -> Result<Vec<(String, String)>, ElfFault> {
    let mut needed = Vec::new();
    let Some((mut libraries, link)) = sections.gnu_verneed(ENDIAN, bytes).map_err(|_| VERSIONS)?
    else {
        return Ok(needed);
    };
    let strings = sections
        .strings(ENDIAN, bytes, link)
        .map_err(|_| VERSIONS)?;
    while let Some((library, mut versions)) = libraries.next().map_err(|_| VERSIONS)? {
        let file = text(library.file(ENDIAN, strings).map_err(|_| VERSIONS)?);
        while let Some(version) = versions.next().map_err(|_| VERSIONS)? {
            let name = text(version.name(ENDIAN, strings).map_err(|_| VERSIONS)?);
            if version.vna_flags.get(ENDIAN).0 & elf::VER_FLG_WEAK.0 == 0 {
                needed.push((file.clone(), name));
            }
            if needed.len() > VERSIONS_MAX {
                return Err(VERSIONS);
            }
        }
    }
    Ok(needed)
}

/// The version names that a system library defines; empty when it cannot be read.
///
/// Reads the few pages that tell it, not the file: libc alone has two megabytes.
pub(in crate::loader) fn defined_versions(library: File) -> Vec<String> {
    let pages = ReadCache::new(library);
    read_defined_versions(&pages).unwrap_or_default()
}

fn read_defined_versions(pages: &ReadCache<File>) -> object::Result<Vec<String>> {
    let sections = Header::parse(pages)?.sections(ENDIAN, pages)?;
    let mut defined = Vec::new();
    let Some((mut definitions, link)) = sections.gnu_verdef(ENDIAN, pages)? else {
        return Ok(defined);
    };
    let strings = sections.strings(ENDIAN, pages, link)?;
    while let Some((_, mut names)) = definitions.next()? {
        // The first name is the version's own, the others are its ancestors.
        if let Some(name) = names.next()? {
            defined.push(text(name.name(ENDIAN, strings)?));
        }
    }
    Ok(defined)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

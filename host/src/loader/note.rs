//! The note that carries a plugin's manifest, read without running the plugin.

use object::LittleEndian;
use object::elf::{FileHeader64, ProgramHeader64, SHT_NOTE, SectionHeader64};
use object::read::elf::{NoteIterator, ProgramHeader as _, SectionHeader as _};

use super::elf::ENDIAN;
use super::refusal::ElfFault;

/// Largest manifest in bytes: migrations and JSON Schemas are in it, data is not.
pub const MANIFEST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Name of the note, with its end.
const NAME: &[u8] = b"nself\0";

/// Type of the note: a manifest as JSON.
const TYPE_MANIFEST: u32 = 1;

type Notes<'data> = NoteIterator<'data, FileHeader64<LittleEndian>>;

/// Finds the one manifest. Segments are asked first; a linker that merges notes of different alignment leaves some to
/// be found through the sections only.
pub(super) fn manifest<'data>(
    bytes: &'data [u8],
    segments: &[ProgramHeader64<LittleEndian>],
    sections: &[SectionHeader64<LittleEndian>],
) -> Result<&'data str, ElfFault> {
    let by_segment = segments
        .iter()
        .filter_map(|segment| segment.notes(ENDIAN, bytes).ok().flatten());
    let found = match only(by_segment)? {
        Some(found) => found,
        None => by_section(bytes, sections)?.ok_or(ElfFault::NoNote)?,
    };
    if found.len() > MANIFEST_BYTES_MAX {
        return Err(ElfFault::Note(format!(
            "it has more than {MANIFEST_BYTES_MAX} bytes"
        )));
    }
    str::from_utf8(found).map_err(|_| ElfFault::Note("it is not UTF-8".to_owned()))
}

fn by_section<'data>(
    bytes: &'data [u8],
    sections: &[SectionHeader64<LittleEndian>],
) -> Result<Option<&'data [u8]>, ElfFault> {
    let notes = sections
        .iter()
        .filter(|section| section.sh_type(ENDIAN) == SHT_NOTE);
    only(notes.filter_map(|section| section.notes(ENDIAN, bytes).ok().flatten()))
}

/// The descriptor of our note; two of them are an error, because nobody could say which one is meant.
fn only<'data>(
    tables: impl Iterator<Item = Notes<'data>>,
) -> Result<Option<&'data [u8]>, ElfFault> {
    let mut found = None;
    for mut notes in tables {
        while let Some(note) = notes
            .next()
            .map_err(|_| ElfFault::Damaged("a note ends after its segment"))?
        {
            if note.name_bytes() != NAME || note.n_type(ENDIAN).0 != TYPE_MANIFEST {
                continue;
            }
            if found.replace(note.desc()).is_some() {
                return Err(ElfFault::Note("there are two of them".to_owned()));
            }
        }
    }
    Ok(found)
}

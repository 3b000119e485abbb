//! Segments and sections: whole, in order, and with harmless rights.

use object::LittleEndian;
use object::elf::{self, ProgramHeader64};
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _, SectionTable};

use super::{ENDIAN, Header};
use crate::loader::refusal::ElfFault;

/// Largest span of address space that one plugin may claim, in bytes: code plus zeroed statics.
const IMAGE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

pub(super) type Segment = ProgramHeader64<LittleEndian>;

/// The program headers of a library: all inside the file, mapped parts ascending and apart from each other.
pub(super) fn segments<'data>(
    header: &Header,
    bytes: &'data [u8],
) -> Result<&'data [Segment], ElfFault> {
    let segments = header
        .program_headers(ENDIAN, bytes)
        .map_err(|_| ElfFault::Truncated("its table of segments"))?;
    if segments
        .iter()
        .any(|segment| !inside(segment.file_range(ENDIAN), bytes))
    {
        return Err(ElfFault::Truncated("a segment"));
    }
    if segments
        .iter()
        .any(|segment| segment.p_type(ENDIAN) == elf::PT_INTERP)
    {
        return Err(ElfFault::Kind("a program"));
    }
    let dynamic = segments
        .iter()
        .filter(|segment| segment.p_type(ENDIAN) == elf::PT_DYNAMIC)
        .count();
    if dynamic != 1 {
        return Err(ElfFault::Kind("a static file without dynamic linking"));
    }
    loadable(segments)?;
    Ok(segments)
}

/// The system's loader reserves first-to-last in one piece and then maps over it: what overlaps overwrites.
fn loadable(segments: &[Segment]) -> Result<(), ElfFault> {
    let mut end = 0_u64;
    let mut start = None;
    for segment in segments
        .iter()
        .filter(|segment| segment.p_type(ENDIAN) == elf::PT_LOAD)
    {
        let (address, size) = (segment.p_vaddr(ENDIAN), segment.p_memsz(ENDIAN));
        let align = segment.p_align(ENDIAN).max(1);
        let congruent =
            align.is_power_of_two() && address % align == segment.p_offset(ENDIAN) % align;
        if address < end || size < segment.p_filesz(ENDIAN) || !congruent {
            return Err(ElfFault::Damaged("its segments contradict each other"));
        }
        end = address
            .checked_add(size)
            .ok_or(ElfFault::Damaged("a segment leaves the address space"))?;
        let first = *start.get_or_insert(address);
        if end - first > IMAGE_BYTES_MAX {
            return Err(ElfFault::Damaged("it claims more than 1 GiB of memory"));
        }
    }
    start
        .map(|_| ())
        .ok_or(ElfFault::Damaged("it has nothing to load"))
}

/// No executable stack, no memory that is writable and executable.
pub(super) fn stack_and_code(segments: &[Segment]) -> Result<(), ElfFault> {
    let has = |segment: &Segment, flag: elf::ProgramFlags| segment.p_flags(ENDIAN).0 & flag.0 != 0;
    let stack = segments
        .iter()
        .find(|segment| segment.p_type(ENDIAN) == elf::PT_GNU_STACK);
    // A library that does not speak about its stack gets an executable one, for old times' sake.
    if stack.is_none_or(|stack| has(stack, elf::PF_X)) {
        return Err(ElfFault::ExecutableStack);
    }
    if segments
        .iter()
        .any(|segment| has(segment, elf::PF_W) && has(segment, elf::PF_X))
    {
        return Err(ElfFault::WritableCode);
    }
    Ok(())
}

/// The section headers. The loader does not need them; `strip` keeps them, and a file cut short loses them first.
pub(super) fn sections<'data>(
    header: &Header,
    bytes: &'data [u8],
) -> Result<SectionTable<'data, Header>, ElfFault> {
    let sections = header
        .sections(ENDIAN, bytes)
        .map_err(|_| ElfFault::Truncated("its table of sections"))?;
    if sections.is_empty() {
        return Err(ElfFault::Damaged(
            "it has no table of sections: strip keeps it, other tools drop it",
        ));
    }
    let outside = |range: Option<(u64, u64)>| range.is_some_and(|range| !inside(range, bytes));
    if sections
        .iter()
        .any(|section| outside(section.file_range(ENDIAN)))
    {
        return Err(ElfFault::Truncated("a section"));
    }
    Ok(sections)
}

fn inside((offset, size): (u64, u64), bytes: &[u8]) -> bool {
    offset
        .checked_add(size)
        .is_some_and(|end| end <= bytes.len() as u64)
}

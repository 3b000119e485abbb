//! Is this content a shared library that `dlopen` can load here without dying? Answered from the bytes alone.
//!
//! The checks follow what the system's loader trusts blindly: it maps segments without comparing them with the file's
//! size, and makes the stack of the whole process executable when a library asks for it. Flipped bytes inside code or
//! relocations are not found here; the hash finds those.

mod layout;
mod linking;

use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::elf::FileHeader as _;

use super::note;
use super::refusal::ElfFault;

pub(super) use linking::{Imports, defined_versions};

/// The only byte order of plugins.
pub(super) const ENDIAN: LittleEndian = LittleEndian;

type Header = FileHeader64<LittleEndian>;

/// What the host needs to know of a sound plugin library.
#[derive(Debug)]
pub(super) struct Library<'data> {
    /// JSON of the note.
    pub(super) manifest: &'data str,
    /// What it needs of other libraries.
    pub(super) imports: Imports,
}

/// Checks everything that can be told without the system and the manifest's meaning.
pub(super) fn inspect(bytes: &[u8]) -> Result<Library<'_>, ElfFault> {
    let header = header(bytes)?;
    let segments = layout::segments(header, bytes)?;
    layout::stack_and_code(segments)?;
    let sections = layout::sections(header, bytes)?;
    linking::tables_agree(bytes, segments, &sections)?;
    let manifest = note::manifest(bytes, segments, sections.iter().as_slice())?;
    linking::entry_is_data(bytes, segments, &sections)?;
    let imports = linking::imports(bytes, &sections)?;
    Ok(Library { manifest, imports })
}

/// The manifest of a library for whichever machine.
pub(super) fn manifest(bytes: &[u8]) -> Result<&str, ElfFault> {
    let header = any_header(bytes)?;
    let segments = layout::segments(header, bytes)?;
    let sections = layout::sections(header, bytes)?;
    note::manifest(bytes, segments, sections.iter().as_slice())
}

/// The header of a library for this machine.
fn header(bytes: &[u8]) -> Result<&Header, ElfFault> {
    let header = any_header(bytes)?;
    if header.e_machine(ENDIAN) != HOST_MACHINE {
        return Err(ElfFault::Machine {
            found: machine_name(header.e_machine(ENDIAN)),
            host: std::env::consts::ARCH,
        });
    }
    match header.e_type(ENDIAN) {
        elf::ET_DYN => Ok(header),
        elf::ET_REL => Err(ElfFault::Kind("an object file")),
        elf::ET_EXEC => Err(ElfFault::Kind("a program")),
        elf::ET_CORE => Err(ElfFault::Kind("a core dump")),
        _ => Err(ElfFault::Kind("an unknown kind of ELF file")),
    }
}

/// The header for whichever machine. The identification is read by hand: each part of it has its own message.
fn any_header(bytes: &[u8]) -> Result<&Header, ElfFault> {
    let machine = std::env::consts::ARCH;
    if !bytes.starts_with(&elf::ELFMAG) {
        return Err(ElfFault::NotElf);
    }
    if bytes.len() < size_of::<Header>() {
        return Err(ElfFault::Truncated("its header"));
    }
    if bytes[4] != elf::ELFCLASS64.0 {
        return Err(ElfFault::Class(machine));
    }
    if bytes[5] != elf::ELFDATA2LSB.0 {
        return Err(ElfFault::ByteOrder(machine));
    }
    Header::parse(bytes).map_err(|_| ElfFault::Damaged("unknown ELF version"))
}

#[cfg(target_arch = "x86_64")]
const HOST_MACHINE: elf::Machine = elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const HOST_MACHINE: elf::Machine = elf::EM_AARCH64;
#[cfg(target_arch = "riscv64")]
const HOST_MACHINE: elf::Machine = elf::EM_RISCV;

fn machine_name(machine: elf::Machine) -> String {
    let name = match machine {
        elf::EM_X86_64 => "x86_64",
        elf::EM_AARCH64 => "aarch64",
        elf::EM_RISCV => "riscv",
        elf::EM_386 => "x86",
        elf::EM_ARM => "arm",
        elf::EM_PPC64 => "powerpc64",
        elf::EM_S390 => "s390x",
        elf::Machine(other) => return format!("ELF machine {other}"),
    };
    name.to_owned()
}

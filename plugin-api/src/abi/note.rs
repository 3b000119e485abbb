//! `.note.nself`: the manifest inside the file, readable without running a single instruction of the plugin.

/// Name of the section.
pub const SECTION: &str = ".note.nself";

/// Owner name in the note's header, with its terminating zero.
pub const NAME: [u8; 6] = *b"nself\0";

/// Note type of a manifest in JSON.
pub const TYPE_MANIFEST: u32 = 1;

/// An ELF note (gABI, "Note Section"): header, name padded to four bytes, description of `N` bytes.
#[repr(C, align(4))]
pub struct Note<const N: usize> {
    name_size: u32,
    description_size: u32,
    kind: u32,
    name: [u8; 8],
    description: [u8; N],
}

impl<const N: usize> Note<N> {
    /// A note that holds `manifest`.
    pub const fn new(manifest: [u8; N]) -> Self {
        assert!(N < u32::MAX as usize, "a manifest of 4 GiB");
        #[expect(clippy::cast_possible_truncation, reason = "checked above")]
        let description_size = N as u32;
        Self {
            name_size: 6,
            description_size,
            kind: TYPE_MANIFEST,
            name: *b"nself\0\0\0",
            description: manifest,
        }
    }

    /// The manifest's bytes.
    pub const fn manifest(&self) -> &[u8; N] {
        &self.description
    }
}

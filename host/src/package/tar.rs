//! The few entries of `tar` that an archive of a plugin has: plain files with short names (POSIX ustar).
//!
//! Everything else that the format knows - links, devices, names that go on in other entries - is refused by not being known.

use std::ops::Range;

use super::ArchiveError;
use crate::loader::one_line;

const BLOCK: usize = 512;
/// What a tape ends with.
pub(super) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Files in one archive: a plugin has one for each kind of machine, and a handful of others.
const FILES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 100;

const NAME: Range<usize> = 0..100;
const SIZE: Range<usize> = 124..136;
const SUM: Range<usize> = 148..156;
const KIND: usize = 156;
const MAGIC: Range<usize> = 257..263;
const PREFIX: Range<usize> = 345..500;

/// The head of a file: owned by nobody, from no time, readable for all.
pub(super) fn head(name: &str, bytes: usize) -> Result<[u8; BLOCK], ArchiveError> {
    if name.len() > NAME_BYTES_MAX || !is_safe(name) {
        return Err(ArchiveError::Name(one_line(name)));
    }
    let mut head = [0; BLOCK];
    head[..name.len()].copy_from_slice(name.as_bytes());
    let size = format!("{bytes:011o}");
    for (at, text) in [
        (100, "0000644"),
        (108, "0000000"),
        (116, "0000000"),
        (SIZE.start, size.as_str()),
        (136, "00000000000"),
        (KIND, "0"),
        (MAGIC.start, "ustar\x0000"),
    ] {
        head[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    let sum = format!("{:06o}\0 ", sum(&head));
    head[SUM].copy_from_slice(sum.as_bytes());
    Ok(head)
}

/// What stands between a content of so many bytes and the next head.
pub(super) fn padding(bytes: usize) -> &'static [u8] {
    &END[..bytes.next_multiple_of(BLOCK) - bytes]
}

/// The sum over a head, its own place taken as blanks.
fn sum(head: &[u8; BLOCK]) -> u32 {
    let byte = |(at, byte): (usize, &u8)| u32::from(if SUM.contains(&at) { b' ' } else { *byte });
    head.iter().enumerate().map(byte).sum()
}

/// A file on the tape.
pub(super) struct Entry {
    /// Its name: relative, without dots that lead elsewhere.
    pub(super) name: String,
    /// Where its content stands.
    pub(super) content: Range<usize>,
}

/// The files on a tape.
pub(super) fn entries(tape: &[u8]) -> Result<Vec<Entry>, ArchiveError> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut at = 0;
    loop {
        let block = tape.get(at..at + BLOCK);
        let head: &[u8; BLOCK] = block
            .and_then(|block| block.try_into().ok())
            .ok_or(ArchiveError::Damaged("it ends without an end"))?;
        if head.iter().all(|byte| *byte == 0) {
            // Some write more empty blocks than two; nothing else may follow.
            let rest = &tape[at..];
            return if rest.iter().all(|byte| *byte == 0) && rest.len() >= END.len() {
                Ok(entries)
            } else {
                Err(ArchiveError::Damaged("something follows its end"))
            };
        }
        at += BLOCK;
        let (name, kind, size) = read(head)?;
        let end = at.checked_add(size).filter(|end| *end <= tape.len());
        let end = end.ok_or(ArchiveError::Damaged("a file ends after the tape"))?;
        match kind {
            b'0' | 0 => {
                if entries.len() == FILES_MAX {
                    return Err(ArchiveError::Crowded(FILES_MAX));
                }
                if !is_safe(&name) {
                    return Err(ArchiveError::Name(one_line(&name)));
                }
                if entries.iter().any(|entry| entry.name == name) {
                    return Err(ArchiveError::Twice(name));
                }
                let content = at..end;
                entries.push(Entry { name, content });
            }
            // Files make their directories.
            b'5' if is_safe(name.trim_end_matches('/')) => {}
            _ => {
                return Err(ArchiveError::Kind {
                    kind: kind_name(kind),
                    name: one_line(&name),
                });
            }
        }
        at = end.next_multiple_of(BLOCK);
    }
}

/// Name, kind and size of an entry.
fn read(head: &[u8; BLOCK]) -> Result<(String, u8, usize), ArchiveError> {
    let damaged = ArchiveError::Damaged;
    if &head[MAGIC] != b"ustar\0" && &head[MAGIC] != b"ustar " {
        return Err(damaged("a head without ustar"));
    }
    if octal(&head[SUM]) != Some(sum(head) as usize) {
        return Err(damaged("a head with a wrong sum"));
    }
    let size = octal(&head[SIZE]).ok_or(damaged("a head without a size"))?;
    let text = |range: Range<usize>| {
        let field = head[range].split(|byte| *byte == 0).next();
        str::from_utf8(field.unwrap_or_default()).map_err(|_| damaged("a name that is no text"))
    };
    let (name, prefix) = (text(NAME)?, text(PREFIX)?);
    // GNU's own form has other things there.
    let name = if prefix.is_empty() || &head[MAGIC] == b"ustar " {
        name.to_owned()
    } else {
        format!("{prefix}/{name}")
    };
    Ok((name, head[KIND], size))
}

fn octal(field: &[u8]) -> Option<usize> {
    let text = str::from_utf8(field).ok()?;
    usize::from_str_radix(text.trim_matches([' ', '\0']), 8).ok()
}

/// Whether a name stays below where it is unpacked, on every file system.
fn is_safe(name: &str) -> bool {
    let fits = |letter: u8| letter.is_ascii_alphanumeric() || b"._+-".contains(&letter);
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(fits);
    name.split('/').all(is_part)
}

fn kind_name(kind: u8) -> &'static str {
    match kind {
        b'1' => "a hard link",
        b'2' => "a symbolic link",
        b'3' | b'4' => "a device",
        b'5' => "a directory",
        b'6' => "a FIFO",
        b'x' | b'g' | b'L' | b'K' => "an extended name",
        _ => "something that is no file",
    }
}

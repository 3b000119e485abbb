//! Reading a plugin file once, from an owner that the host trusts.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::refusal::FileFault;
use crate::minisign;

/// Largest plugin file, in bytes: first-party plugins have 1.5 MB, one with a runtime and TLS inside has 2.3 MB.
pub const PLUGIN_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Permission bits of a mode that let group or others write.
pub(super) const OTHERS_WRITE: u32 = 0o022;

/// Reads the whole file into memory; nothing after this looks at the file again.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, FileFault> {
    whole(open(path)?, PLUGIN_BYTES_MAX)
}

/// The text of the signature that lies beside a file, judged as the file is; none when there is none.
pub(super) fn read_signature(path: &Path) -> Result<Option<String>, FileFault> {
    let file = match open(&signature_of(path)) {
        Err(FileFault::Open(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        file => file?,
    };
    let bytes = whole(file, minisign::SIGNATURE_BYTES_MAX)?;
    // Whatever is no text is no signature, and is told so by its first line.
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Where the signature of a file lies: beside it, under its whole name and one word more.
pub fn signature_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(minisign::EXTENSION);
    name.into()
}

fn whole(file: File, max: u64) -> Result<Vec<u8>, FileFault> {
    let stat = rustix::fs::fstat(&file).map_err(|error| FileFault::Read(error.into()))?;
    let size = admit(&stat, max)?;
    let mut bytes = Vec::with_capacity(usize::try_from(size).expect("the limit fits a usize") + 1);
    // One byte more than announced shows a file that grows under our hands.
    file.take(size + 1)
        .read_to_end(&mut bytes)
        .map_err(FileFault::Read)?;
    if bytes.len() as u64 != size {
        return Err(FileFault::Changed);
    }
    Ok(bytes)
}

/// Opens without following a link and without waiting for a FIFO's other end.
fn open(path: &Path) -> Result<File, FileFault> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(descriptor) => Ok(File::from(descriptor)),
        Err(Errno::LOOP) => Err(FileFault::SymbolicLink),
        Err(Errno::NXIO) => Err(FileFault::Kind("a socket")),
        Err(error) => Err(FileFault::Open(error.into())),
    }
}

/// The size of an admissible file in bytes.
fn admit(stat: &Stat, max: u64) -> Result<u64, FileFault> {
    let file_type = FileType::from_raw_mode(stat.st_mode);
    if file_type != FileType::RegularFile {
        return Err(FileFault::Kind(kind_name(file_type)));
    }
    let euid = rustix::process::geteuid().as_raw();
    if !trusted(stat.st_uid, euid) {
        return Err(FileFault::Owner {
            owner: stat.st_uid,
            euid,
        });
    }
    if stat.st_mode & OTHERS_WRITE != 0 {
        return Err(FileFault::Writable {
            mode: stat.st_mode & 0o7777,
        });
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    match size {
        0 => Err(FileFault::Empty),
        _ if size <= max => Ok(size),
        _ => Err(FileFault::Large { size, max }),
    }
}

/// Root can replace the host itself; the host's own user is the host.
pub(super) fn trusted(owner: u32, euid: u32) -> bool {
    owner == 0 || owner == euid
}

fn kind_name(file_type: FileType) -> &'static str {
    match file_type {
        FileType::Directory => "a directory",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Symlink => "a symbolic link",
        _ => "a special file",
    }
}

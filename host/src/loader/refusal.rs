//! Every reason to refuse a plugin, as one line that says which, what is wrong, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use semver::Version;
use thiserror::Error;

use super::signature::SignatureFault;

/// Longest text of a plugin that a message repeats, in characters.
const QUOTED_CHARS_MAX: usize = 200;

/// Why a plugin was refused. `Display` is the whole story in one line.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The file is not one that the host reads.
    #[error("{file}: {fault}", file = shown(.file))]
    File {
        /// The file in the plugin directory.
        file: PathBuf,
        /// What is wrong with it.
        fault: FileFault,
    },
    /// Nobody who is trusted stands for the file.
    #[error("{file}: {fault}", file = shown(.file))]
    Signature {
        /// The file in the plugin directory.
        file: PathBuf,
        /// What is wrong with its signature.
        fault: Box<SignatureFault>,
    },
    /// The content is no library that this machine can load.
    #[error("{file}: {fault}", file = shown(.file))]
    Elf {
        /// The file in the plugin directory.
        file: PathBuf,
        /// What is wrong with it.
        fault: ElfFault,
    },
    /// The plugin was built for another boundary than this host's.
    #[error(
        "{id} {version} needs plugin ABI {major}.{minor}, this host (nself {host_version}) speaks {host_major}.{host_minor}: {remedy}",
        remedy = abi_remedy(id, *major, *host_major)
    )]
    Abi {
        /// The plugin's id.
        id: String,
        /// The plugin's version.
        version: Version,
        /// The major that it was built for.
        major: u32,
        /// The lowest minor that it can live with.
        minor: u32,
        /// The version of this host.
        host_version: String,
        /// The major that this host speaks.
        host_major: u32,
        /// The minor that this host speaks.
        host_minor: u32,
    },
    /// The manifest asks for, or promises, something that cannot be.
    #[error("{file}: {id} {version} {fault}", file = shown(.file))]
    Manifest {
        /// The file in the plugin directory.
        file: PathBuf,
        /// The plugin's id.
        id: String,
        /// The plugin's version.
        version: Version,
        /// What is wrong with it.
        fault: Box<ManifestFault>,
    },
    /// The private copy could not be made.
    #[error("{id} {version} cannot be kept in {directory}: {fault}", directory = shown(.directory))]
    Store {
        /// The plugin's id.
        id: String,
        /// The plugin's version.
        version: Version,
        /// The store.
        directory: PathBuf,
        /// What is wrong.
        fault: StoreFault,
    },
    /// The system's loader refused a file that had passed every check.
    #[error("{file}: the system's loader refused it ({reason}): rebuild the plugin on this system", file = shown(.file))]
    Open {
        /// The file in the store.
        file: PathBuf,
        /// What the loader said.
        reason: String,
    },
}

impl Refusal {
    /// The id of the refused plugin, where the refusal knows it: its dependents are refused with it.
    pub fn plugin_id(&self) -> Option<&str> {
        match self {
            Self::Abi { id, .. } | Self::Manifest { id, .. } | Self::Store { id, .. } => Some(id),
            Self::File { .. } | Self::Signature { .. } | Self::Elf { .. } | Self::Open { .. } => {
                None
            }
        }
    }
}

fn abi_remedy(id: &str, major: u32, host_major: u32) -> String {
    if major < host_major {
        return format!("use a newer {id} that was built for {host_major}.x");
    }
    format!("upgrade nself, or use an older {id}")
}

/// Why a plugin directory as a whole is not read.
#[derive(Debug, Error)]
pub enum DirectoryFault {
    /// It cannot be opened or listed.
    #[error("plugin directory {directory} cannot be read ({source}): create it, or set another one in nself.toml", directory = shown(.directory))]
    Unreadable {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else owns it.
    #[error("plugin directory {directory} belongs to user {owner}: chown it to root or to user {euid}, who runs nself", directory = shown(.directory))]
    Owner {
        /// The directory.
        directory: PathBuf,
        /// Its owner's number.
        owner: u32,
        /// The number of the user that the host runs as.
        euid: u32,
    },
    /// Somebody else may put plugins into it.
    #[error("plugin directory {directory} may be written by others (mode {mode:04o}): run chmod go-w {directory}", directory = shown(.directory))]
    Writable {
        /// The directory.
        directory: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// So many files that it can only be a mistake.
    #[error("plugin directory {directory} holds more than {max} .so files: is it the right directory?", directory = shown(.directory))]
    Crowded {
        /// The directory.
        directory: PathBuf,
        /// The limit.
        max: usize,
    },
}

/// What is wrong with a file before anybody looks into it.
#[derive(Debug, Error)]
pub enum FileFault {
    /// The system does not open it.
    #[error("cannot be opened ({0}): make it readable for the user that runs nself")]
    Open(#[source] io::Error),
    /// The name leads elsewhere.
    #[error("is a symbolic link: put the file itself into the plugin directory")]
    SymbolicLink,
    /// A directory, FIFO, socket or device.
    #[error("is {0}, not a regular file: remove it or rename it")]
    Kind(&'static str),
    /// Somebody else owns it.
    #[error("belongs to user {owner}: chown it to root or to user {euid}, who runs nself")]
    Owner {
        /// The owner's number.
        owner: u32,
        /// The number of the user that the host runs as.
        euid: u32,
    },
    /// Somebody else may change it.
    #[error("may be written by others (mode {mode:04o}): run chmod go-w on it")]
    Writable {
        /// Permission bits.
        mode: u32,
    },
    /// Nothing in it.
    #[error("is empty: copy it again")]
    Empty,
    /// Larger than any plugin has a reason to be.
    #[error("has {size} bytes, more than the {max} that a plugin may have: strip it")]
    Large {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// Reading failed.
    #[error("cannot be read ({0}): check the disk")]
    Read(#[source] io::Error),
    /// The size was not the size.
    #[error("changed while it was read: copy it under another name, then rename it")]
    Changed,
}

/// What is wrong with a file's content as a library.
#[derive(Debug, Error)]
pub enum ElfFault {
    /// Some other kind of file.
    #[error("is not an ELF library: a plugin is the .so that cargo builds for a cdylib")]
    NotElf,
    /// 32-bit.
    #[error("is not a 64-bit library: build it for {0}")]
    Class(&'static str),
    /// Big-endian.
    #[error("is not a little-endian library: build it for {0}")]
    ByteOrder(&'static str),
    /// For another processor.
    #[error("is built for {found}, this machine is {host}: build it for {host}")]
    Machine {
        /// Its processor.
        found: String,
        /// This machine's.
        host: &'static str,
    },
    /// An object file or an executable.
    #[error("is {0}, not a shared library: set crate-type = [\"cdylib\"]")]
    Kind(&'static str),
    /// Its tables point past its end.
    #[error("is truncated ({0} ends after the file): copy it again")]
    Truncated(&'static str),
    /// Its tables contradict themselves.
    #[error("is damaged ({0}): copy or build it again")]
    Damaged(&'static str),
    /// The stack would become executable for the whole process.
    #[error("asks for an executable stack: link it with -z noexecstack")]
    ExecutableStack,
    /// Code that can be overwritten.
    #[error("has a segment that is writable and executable: link it without -N or --omagic")]
    WritableCode,
    /// Code that must be patched while loading.
    #[error("has relocations in its code: build it as position-independent code")]
    TextRelocations,
    /// No manifest.
    #[error(
        "has no nself manifest (no .note.nself): is it a plugin? build it with nself-plugin-api"
    )]
    NoNote,
    /// A manifest that cannot be read.
    #[error("has an unreadable nself manifest ({0}): build it with a released nself-plugin-api")]
    Note(String),
    /// The entry is missing.
    #[error("does not export {0}: build it as a cdylib and keep its symbols of the dynamic table")]
    NoEntry(&'static str),
    /// The entry is code.
    #[error(
        "exports {0} as a function, it must be data: build it with a released nself-plugin-api"
    )]
    EntryKind(&'static str),
    /// A shared library is asked for by path.
    #[error("needs the library {0:?} by its path: link it by name")]
    LibraryPath(String),
    /// A shared library is not installed.
    #[error(
        "needs the system library {0}, which is not installed: install it, or link it statically"
    )]
    Library(String),
    /// A shared library is too old.
    #[error(
        "needs {version} of {library}, this system has {newest}: upgrade the system, or build the plugin on an older one"
    )]
    LibraryVersion {
        /// The library.
        library: String,
        /// The version name that is asked for.
        version: String,
        /// The newest that is there.
        newest: String,
    },
}

/// What is wrong with what a plugin declares.
#[derive(Debug, Error)]
pub enum ManifestFault {
    /// Built to abort.
    #[error(
        "is built with panic = {0:?}: one panic would end the host, build it with panic = \"unwind\""
    )]
    Panic(String),
    /// Built for another system.
    #[error("is built for {found}, this machine is {host}: build it for {host}")]
    Target {
        /// Its target.
        found: String,
        /// This host's.
        host: String,
    },
    /// A name that the database or the host uses itself.
    #[error("uses a reserved id: rename the plugin")]
    ReservedId,
    /// A route says nothing about its callers.
    #[error("has a route that states nobody who may call it ({0}): give it an access rule")]
    NoAccess(String),
    /// A route is for those who may do something that the policy does not know.
    #[error(
        "has a route for those who may {action:?} ({route}), and the policy has no such action: one of {near}, or upgrade nself"
    )]
    Action {
        /// Method and path.
        route: String,
        /// What it says.
        action: String,
        /// The names that come nearest.
        near: String,
    },
    /// A route that cannot be routed.
    #[error("has an impossible route {route}: {reason}")]
    Route {
        /// Method and path.
        route: String,
        /// Why.
        reason: String,
    },
    /// Two of its routes answer the same requests.
    #[error("has two routes for the same requests ({first} and {second}): drop one")]
    SameRoute {
        /// The first one.
        first: String,
        /// The other one.
        second: String,
    },
    /// Two things under one name.
    #[error("declares the {kind} {name:?} twice: rename one")]
    Twice {
        /// What it is: task, subscription, ...
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A name with characters that it may not have.
    #[error("declares the {kind} {name:?}: {rule}")]
    Name {
        /// What it is: task, subscription, ...
        kind: &'static str,
        /// The name.
        name: String,
        /// What a name of this kind looks like.
        rule: &'static str,
    },
    /// Steps are missing or out of order.
    #[error("has migration {found} where {expected} is due: number migrations from 1 without gaps")]
    Migration {
        /// The number that stands there.
        found: u32,
        /// The number that should.
        expected: usize,
    },
    /// Something that this host does not know.
    #[error(
        "asks for the capability {0:?}, which this host does not have: upgrade nself, or correct the name"
    )]
    UnknownCapability(String),
    /// A host capability cannot be replaced.
    #[error("offers the capability {0:?}: names that start with nself. belong to the host")]
    HostCapability(String),
    /// The configuration has no schema.
    #[error("has a config schema that is no JSON object: declare an object schema, or none")]
    ConfigSchema,
    /// The note is JSON, but no manifest of this schema.
    #[error(
        "has a manifest that this host cannot read ({0}): build it with a released nself-plugin-api"
    )]
    Shape(String),
}

/// Why a private copy could not be made.
#[derive(Debug, Error)]
pub enum StoreFault {
    /// No room.
    #[error("no space is left for its {bytes} bytes: free some, then enable the plugin again")]
    Full {
        /// The copy's size.
        bytes: usize,
    },
    /// The directory is not private.
    #[error(
        "the directory must belong to user {euid} and be private (it belongs to {owner}, mode {mode:04o}): run chmod 700 on it"
    )]
    NotPrivate {
        /// Its owner's number.
        owner: u32,
        /// The number of the user that the host runs as.
        euid: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// Something else failed.
    #[error("{doing} failed ({source}): check the directory and the disk")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Text of somebody else, made fit for one line of a message: control characters escaped, cut when long.
pub fn one_line(text: &str) -> String {
    one_line_of(text, QUOTED_CHARS_MAX)
}

/// The same of at most `chars_max` characters.
pub fn one_line_of(text: &str, chars_max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(chars_max));
    for (index, character) in text.chars().enumerate() {
        if index == chars_max {
            line.push('…');
            break;
        }
        if character.is_control()
            || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}')
        {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

fn shown(path: &Path) -> String {
    one_line(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_on_one_line() {
        assert_eq!(one_line("a\nb\x1b[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(
            one_line(&"x".repeat(500)).chars().count(),
            QUOTED_CHARS_MAX + 1
        );
    }
}

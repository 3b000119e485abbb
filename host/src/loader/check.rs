//! All gates before `dlopen`, in order.

use std::fmt;
use std::path::{Path, PathBuf};

use memchr::memmem;

use super::refusal::{ElfFault, Refusal};
use super::{Sha256, Signed, System, Trust, declared, elf, source};
use nself_plugin_api::abi::{self, entry::Capability};

use crate::plugin::manifest::Manifest;

/// The boundary that this host speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostAbi {
    /// Must equal the plugin's.
    pub major: u32,
    /// The plugin must not need more.
    pub minor: u32,
}

/// What a plugin is measured against.
#[derive(Debug, Clone, Copy)]
pub struct Host<'a> {
    /// Version of the host, for people.
    pub version: &'a str,
    /// The boundary that it speaks.
    pub abi: HostAbi,
    /// Ids of the capabilities that it hands out, such as `nself.db/1`.
    pub capabilities: &'a [&'a str],
    /// The system's shared libraries.
    pub system: &'a System,
    /// Who may sign, and what becomes of files that nobody signed.
    pub trust: &'a Trust,
}

impl<'a> Host<'a> {
    /// The host that this binary is.
    pub fn this(system: &'a System, trust: &'a Trust) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            abi: HostAbi {
                major: abi::MAJOR,
                minor: abi::MINOR,
            },
            capabilities: Capability::IDS,
            system,
            trust,
        }
    }
}

/// A plugin that passed every gate; nothing of it has run.
pub struct CheckedPlugin {
    /// What it declares.
    pub manifest: Manifest,
    /// Of `bytes`.
    pub sha256: Sha256,
    /// The signature of it, when a trusted key made it.
    pub signed: Option<Signed>,
    /// The file's content: what was checked, and the only thing that may be kept and opened.
    pub bytes: Vec<u8>,
    /// Where it was found.
    pub path: PathBuf,
    /// Not wrong, but its author should know; one line each.
    pub warnings: Vec<String>,
}

impl CheckedPlugin {
    /// Who signed it, as `plugins.lock` keeps it.
    pub fn signer(&self) -> Option<String> {
        let signed = self.signed.as_ref();
        signed.map(|signed| signed.signer.locked_as())
    }
}

impl fmt::Debug for CheckedPlugin {
    /// Without megabytes of numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedPlugin")
            .field("id", &self.manifest.id)
            .field("sha256", &self.sha256)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Reads a file once and judges it, without running any of it.
///
/// # Errors
///
/// The first [`Refusal`] that applies. Any content is handled: there is none that panics, hangs or kills the host.
pub fn check(path: &Path, host: &Host<'_>) -> Result<CheckedPlugin, Refusal> {
    let bytes = source::read(path).map_err(|fault| Refusal::File {
        file: path.to_owned(),
        fault,
    })?;
    let refuse = |fault: ElfFault| Refusal::Elf {
        file: path.to_owned(),
        fault,
    };
    // Before anything looks into it: of a file that nobody stands for, not even the tables are believed.
    let judged = host
        .trust
        .judge(&bytes, source::read_signature(path))
        .map_err(|fault| Refusal::Signature {
            file: path.to_owned(),
            fault: Box::new(fault),
        })?;
    let library = elf::inspect(&bytes).map_err(refuse)?;
    // The manifest goes before the libraries: "needs a newer nself" explains a missing library, not the other way round.
    let manifest = declared::read(library.manifest, path, host)?;
    host.system.satisfies(&library.imports).map_err(refuse)?;
    let mut warnings = warnings(&manifest.id, &bytes, library.imports.search_path);
    let unsigned = judged.warning;
    warnings.extend(unsigned.map(|warning| format!("{} {warning}", manifest.id)));
    Ok(CheckedPlugin {
        manifest,
        sha256: Sha256::of(&bytes),
        signed: judged.signed,
        bytes,
        path: path.to_owned(),
        warnings,
    })
}

/// Reads what a plugin file for any machine says of itself, for putting it into an archive: its manifest, its target, its bytes.
/// Nothing is judged but that it is a whole library with a manifest.
///
/// # Errors
///
/// [`Refusal`], as of [`check`].
pub fn describe(path: &Path) -> Result<Described, Refusal> {
    let bytes = source::read(path).map_err(|fault| Refusal::File {
        file: path.to_owned(),
        fault,
    })?;
    let refuse = |fault: ElfFault| Refusal::Elf {
        file: path.to_owned(),
        fault,
    };
    let manifest = elf::manifest(&bytes).map_err(refuse)?;
    let manifest: serde_json::Value = serde_json::from_str(manifest)
        .map_err(|error| refuse(ElfFault::Note(super::one_line(&error.to_string()))))?;
    Ok(Described { manifest, bytes })
}

/// What [`describe`] found.
pub struct Described {
    /// The manifest, as it stands in the file.
    pub manifest: serde_json::Value,
    /// The file's content.
    pub bytes: Vec<u8>,
}

/// The panic message of tokio's `Handle::current`: part of everything that can look for a runtime, and of nothing
/// in the crates of tokio that work without one (`tokio::sync`, `tokio-util`'s codecs).
const TOKIO_RUNTIME: &[u8] =
    b"there is no reactor running, must be called from the context of a Tokio 1.x runtime";

fn warnings(id: &str, bytes: &[u8], search_path: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if memmem::find(bytes, TOKIO_RUNTIME).is_some() {
        warnings.push(format!(
            "{id} links tokio's runtime: timers, sockets and spawn of tokio panic on the host's threads and add about 0.2 MB; use the capabilities, or tokio without its rt and time features"
        ));
    }
    if search_path {
        warnings.push(format!(
            "{id} carries a search path for libraries (RPATH): it is opened from the store, where relative paths lead elsewhere; link without it"
        ));
    }
    warnings
}

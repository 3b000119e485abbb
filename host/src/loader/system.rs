//! The shared libraries of this system, as far as plugins ask for them.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::elf::{Imports, defined_versions};
use super::refusal::{ElfFault, one_line};

/// Where loaders look without configuration; the multiarch directory of this machine is added.
const DIRECTORIES: [&str; 6] = [
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
    "/usr/local/lib64",
    "/usr/local/lib",
];

/// Parts of glibc and of the compiler's runtime. They are there wherever a dynamic host runs, also in places that we
/// do not search, such as the store of Nix.
const ALWAYS_THERE: [&str; 9] = [
    "libc.so.6",
    "libm.so.6",
    "libgcc_s.so.1",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "libutil.so.1",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
];

/// Which libraries and which of their symbol versions a plugin can count on. Make one per process: it remembers.
#[derive(Debug, Default)]
pub struct System {
    mapped: BTreeMap<String, PathBuf>,
    directories: Vec<PathBuf>,
    versions: Mutex<HashMap<PathBuf, Arc<Vec<String>>>>,
}

impl System {
    /// Looks at this process's own libraries and at the loader's configuration.
    pub fn detect() -> Self {
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let multiarch = format!("{}-linux-gnu", std::env::consts::ARCH);
        let mut directories: Vec<PathBuf> = DIRECTORIES.iter().map(PathBuf::from).collect();
        directories.extend(
            ["/lib", "/usr/lib", "/usr/local/lib"].map(|root| Path::new(root).join(&multiarch)),
        );
        directories.extend(configured_directories());
        Self {
            mapped: mapped_libraries(&maps),
            directories,
            versions: Mutex::default(),
        }
    }

    /// Checks that all that a library imports is here.
    pub(super) fn satisfies(&self, imports: &Imports) -> Result<(), ElfFault> {
        for library in &imports.libraries {
            if library.contains('/') {
                return Err(ElfFault::LibraryPath(one_line(library)));
            }
            if self.locate(library).is_none() && !ALWAYS_THERE.contains(&library.as_str()) {
                return Err(ElfFault::Library(one_line(library)));
            }
        }
        imports
            .versions
            .iter()
            .try_for_each(|(library, version)| self.defines(library, version))
    }

    fn defines(&self, library: &str, version: &str) -> Result<(), ElfFault> {
        let defined = self
            .locate(library)
            .map(|path| self.versions_of(path))
            .unwrap_or_default();
        // A library that we cannot read, or that has no versions, is the loader's to judge.
        if defined.is_empty() || defined.iter().any(|name| name == version) {
            return Ok(());
        }
        Err(ElfFault::LibraryVersion {
            library: one_line(library),
            version: one_line(version),
            newest: newest(version, &defined),
        })
    }

    /// What is mapped already wins, as it does in `dlopen`.
    fn locate(&self, library: &str) -> Option<PathBuf> {
        let searched = || {
            self.directories
                .iter()
                .map(|directory| directory.join(library))
                .find(|path| path.is_file())
        };
        self.mapped.get(library).cloned().or_else(searched)
    }

    fn versions_of(&self, path: PathBuf) -> Arc<Vec<String>> {
        let mut known = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let read =
            |path: &Path| Arc::new(File::open(path).map(defined_versions).unwrap_or_default());
        known
            .entry(path)
            .or_insert_with_key(|path| read(path))
            .clone()
    }
}

/// Libraries by file name, from the text of `/proc/<pid>/maps`.
fn mapped_libraries(maps: &str) -> BTreeMap<String, PathBuf> {
    let paths = maps
        .lines()
        .filter_map(|line| line.find('/').map(|start| Path::new(&line[start..])));
    paths
        .filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path.to_owned())))
        .filter(|(name, _)| name.contains(".so"))
        .collect()
}

/// Directories of `/etc/ld.so.conf` and of the files that distributions include from it.
fn configured_directories() -> Vec<PathBuf> {
    let included = fs::read_dir("/etc/ld.so.conf.d")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut files: Vec<PathBuf> = included
        .filter(|path| path.extension().is_some_and(|end| end == "conf"))
        .collect();
    files.push(PathBuf::from("/etc/ld.so.conf"));
    files.sort();
    let texts = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    texts
        .flat_map(|text| {
            text.lines()
                .map(str::trim)
                .filter(|line| line.starts_with('/'))
                .map(PathBuf::from)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The highest defined version of the same family (`GLIBC_2.36` for `GLIBC_9.99`).
fn newest(wanted: &str, defined: &[String]) -> String {
    let family = wanted.split('_').next().unwrap_or_default();
    let numbered = defined.iter().filter_map(|name| {
        let number = name.strip_prefix(family)?.strip_prefix('_')?;
        let parts: Option<Vec<u32>> = number.split('.').map(|part| part.parse().ok()).collect();
        Some((parts?, name))
    });
    numbered
        .max()
        .map_or_else(|| "none of that name".to_owned(), |(_, name)| name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_told_by_number_not_by_letter() {
        let defined = ["GLIBC_2.4", "GLIBC_2.36", "GLIBC_PRIVATE", "GLIBC_2.9"].map(str::to_owned);
        assert_eq!(newest("GLIBC_9.99", &defined), "GLIBC_2.36");
        assert_eq!(newest("GCC_4.2.0", &defined), "none of that name");
    }

    #[test]
    fn libraries_are_read_from_the_maps() {
        let maps = "7f00-7f01 r-xp 00000000 08:01 42    /usr/lib/libc.so.6\n7f02-7f03 rw-p 00000000 00:00 0\n";
        let expected =
            BTreeMap::from([("libc.so.6".to_owned(), PathBuf::from("/usr/lib/libc.so.6"))]);
        assert_eq!(mapped_libraries(maps), expected);
    }
}

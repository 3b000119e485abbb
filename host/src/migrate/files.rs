//! Steps as files in a directory: `NNNN_name.up.sql` beside `NNNN_name.down.sql`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::owner::is_step_name;
use crate::plugin::manifest::Migration;

/// What is wrong with a directory of steps.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The directory or a file in it cannot be read or written.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// `read`, `make` or `write`.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A `.sql` file whose name does not say which step it is.
    #[error("{}: a step's file is called like `0001_members.up.sql` or `0001_members.down.sql`: rename it", path.display())]
    Name {
        /// Which.
        path: PathBuf,
    },
    /// Two steps with one number.
    #[error("{} and another step have the same number: renumber the newer one", path.display())]
    Twice {
        /// The second one.
        path: PathBuf,
    },
    /// One direction is missing.
    #[error("{} is missing: every step can be taken back", path.display())]
    Half {
        /// The file that should be there.
        path: PathBuf,
    },
    /// A name for a new step that is not fit for a file.
    #[error(
        "`{name}` cannot name a step: use lower-case letters, digits and `_`, such as `add_members`"
    )]
    NewName {
        /// The name.
        name: String,
    },
}

#[derive(Default)]
struct Pair {
    name: String,
    up: Option<String>,
    down: Option<String>,
}

/// Reads all steps of a directory, ascending. A directory that does not exist has none.
///
/// # Errors
///
/// A `.sql` file that does not belong to a pair. Gaps and empty texts are found by [`Owner::validate`](super::Owner::validate).
pub fn read(directory: &Path) -> Result<Vec<Migration>, FilesError> {
    let mut pairs = BTreeMap::<u32, Pair>::new();
    for path in sql_files(directory)? {
        let (number, name, is_up) =
            parse_name(&path).ok_or_else(|| FilesError::Name { path: path.clone() })?;
        let pair = pairs.entry(number).or_default();
        if pair.name.is_empty() {
            pair.name = name;
        } else if pair.name != name {
            return Err(FilesError::Twice { path });
        }
        let text = fs::read_to_string(&path).map_err(io_error("read", &path))?;
        *(if is_up { &mut pair.up } else { &mut pair.down }) = Some(text);
    }
    let step = |(number, Pair { name, up, down })| {
        let missing = |side: &str| FilesError::Half {
            path: directory.join(format!("{number:04}_{name}.{side}.sql")),
        };
        let up = up.ok_or_else(|| missing("up"))?;
        let down = down.ok_or_else(|| missing("down"))?;
        Ok(Migration {
            number,
            name,
            up,
            down,
        })
    };
    pairs.into_iter().map(step).collect()
}

/// Writes the next pair of empty files, up first, and returns their paths. Makes the directory when it is missing.
///
/// # Errors
///
/// A name that is not fit, a directory that is not in order, or the file system.
pub fn create(directory: &Path, name: &str) -> Result<[PathBuf; 2], FilesError> {
    if !is_step_name(name) {
        return Err(FilesError::NewName {
            name: name.to_owned(),
        });
    }
    fs::create_dir_all(directory).map_err(io_error("make", directory))?;
    let number = read(directory)?.last().map_or(1, |step| step.number + 1);
    let write = |side: &str, text: &str| {
        let path = directory.join(format!("{number:04}_{name}.{side}.sql"));
        let mut file = fs::File::create_new(&path).map_err(io_error("write", &path))?;
        io::Write::write_all(&mut file, text.as_bytes()).map_err(io_error("write", &path))?;
        Ok(path)
    };
    Ok([
        write(
            "up",
            "-- Why this step is there. It runs in one transaction; never edit it once it is released.\n",
        )?,
        write("down", "-- Takes the step back.\n")?,
    ])
}

pub(super) fn sql_files(directory: &Path) -> Result<Vec<PathBuf>, FilesError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_error("read", directory))?,
    };
    let paths: io::Result<Vec<_>> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect();
    let mut paths = paths.map_err(io_error("read", directory))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    paths.sort();
    Ok(paths)
}

/// Number, name, and whether it is the up file.
fn parse_name(path: &Path) -> Option<(u32, String, bool)> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".sql")?;
    let (stem, is_up) = match stem.strip_suffix(".up") {
        Some(stem) => (stem, true),
        None => (stem.strip_suffix(".down")?, false),
    };
    let (number, name) = stem.split_once('_')?;
    let is_number = number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || !is_step_name(name) {
        return None;
    }
    Some((number.parse().ok()?, name.to_owned(), is_up))
}

pub(super) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FilesError {
    let path = path.to_owned();
    move |source| FilesError::Io {
        doing,
        path,
        source,
    }
}

//! Where templates come from: this file's constants, and a directory of the operator's.
//!
//! The directory is read once, when the plugin starts: a mail that is rendered reads no file.

use std::{fs, io, path::Path};

use nself_plugin_api::{Error, Result};

use crate::config::refused;

/// Largest file of the directory, bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// How deep the directory is searched.
const DEPTH_MAX: usize = 4;

/// The built-in looks.
pub(super) const LOOKS: &[(&str, &str)] = &[
    ("layout.html", include_str!("../../templates/layout.html")),
    ("layout.txt", include_str!("../../templates/layout.txt")),
    ("notice.html", include_str!("../../templates/notice.html")),
    ("notice.txt", include_str!("../../templates/notice.txt")),
];

/// The built-in languages.
pub(super) const LANGUAGES: &[(&str, &str)] = &[
    ("en", include_str!("../../messages/en.json")),
    ("de", include_str!("../../messages/de.json")),
];

/// What a directory holds: names and texts.
#[derive(Default)]
pub(super) struct Found {
    pub looks: Vec<(String, String)>,
    pub languages: Vec<(String, String)>,
}

/// Reads `templates/**.html`, `templates/**.txt` and `messages/*.json`.
///
/// # Errors
///
/// When the directory or a file cannot be read, with its name.
pub(super) fn read(directory: &Path) -> Result<Found> {
    let complain = |path: &Path, error: &io::Error| -> Error {
        refused(&format!("templates_directory: {}: {error}", path.display()))
    };
    if let Err(error) = fs::read_dir(directory) {
        return Err(complain(directory, &error));
    }
    let mut found = Found::default();
    let templates = directory.join("templates");
    let mut files = Vec::new();
    list(&templates, DEPTH_MAX, &mut files).map_err(|(path, error)| complain(&path, &error))?;
    for path in files {
        let name = path.strip_prefix(&templates).unwrap_or(&path);
        let name = name.to_string_lossy().into_owned();
        if has_ending(&path, "html") || has_ending(&path, "txt") {
            let text = read_file(&path).map_err(|error| complain(&path, &error))?;
            found.looks.push((name, text));
        }
    }
    let mut files = Vec::new();
    list(&directory.join("messages"), 1, &mut files)
        .map_err(|(path, error)| complain(&path, &error))?;
    for path in files.iter().filter(|path| has_ending(path, "json")) {
        let language = path.file_stem().unwrap_or_default().to_string_lossy();
        let text = read_file(path).map_err(|error| complain(path, &error))?;
        found.languages.push((language.into_owned(), text));
    }
    Ok(found)
}

type Trouble = (std::path::PathBuf, io::Error);

/// The files below a folder, in the order of their names; none when there is no such folder.
fn list(folder: &Path, depth: usize, files: &mut Vec<std::path::PathBuf>) -> Result<(), Trouble> {
    let trouble = |error| (folder.to_owned(), error);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(trouble)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(trouble)?.path());
    }
    paths.sort();
    for path in paths {
        if !path.is_dir() {
            files.push(path);
        } else if depth > 1 {
            list(&path, depth - 1, files)?;
        }
    }
    Ok(())
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found == ending)
}

fn read_file(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it has more than 256 KiB",
        ));
    }
    fs::read_to_string(path)
}

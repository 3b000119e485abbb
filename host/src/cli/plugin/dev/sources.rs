//! What a crate is built from, and when each of it was written.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Files with their times and lengths: another value is another content.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sources(BTreeMap<PathBuf, (SystemTime, u64)>);

impl Sources {
    /// All files below a directory, but for what is hidden and what cargo makes.
    pub(super) fn below(directory: &Path) -> Self {
        let mut sources = Self::default();
        sources.add_below(directory);
        sources
    }

    fn add_below(&mut self, directory: &Path) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            let is_made = name == "target" && path.join("CACHEDIR.TAG").exists();
            if is_made || name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            // A link to a directory is not followed: it may lead up again.
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.add_below(&path),
                Ok(_) => self.add(path),
                Err(_) => {}
            }
        }
    }

    /// What cargo's list beside a library says that it was built from: with that of other crates that are no packages of a registry.
    pub(super) fn add_dependencies(&mut self, list: &Path) {
        let text = fs::read_to_string(list).unwrap_or_default();
        for path in dependencies(&text) {
            self.add(path);
        }
    }

    /// A file that is gone is not among them, which is a change as well.
    fn add(&mut self, path: PathBuf) {
        if let Ok(file) = fs::metadata(&path)
            && let Ok(written) = file.modified()
        {
            self.0.insert(path, (written, file.len()));
        }
    }
}

/// The right side of a rule of make, as rustc writes it: a blank in a name has a backslash before it.
fn dependencies(rule: &str) -> Vec<PathBuf> {
    let right = rule.lines().next().and_then(|line| line.split_once(": "));
    let right = right.map_or("", |(_, right)| right);
    let names = right.replace("\\ ", "\0");
    let names = names.split_whitespace();
    names
        .map(|name| PathBuf::from(name.replace('\0', " ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_of_make_names_files_with_blanks_too() {
        let rule =
            "/t/libchores.so: /p/my\\ chores/src/lib.rs /p/api/src/lib.rs\n\n/p/api/src/lib.rs:\n";
        let expected = ["/p/my chores/src/lib.rs", "/p/api/src/lib.rs"].map(PathBuf::from);
        assert_eq!(dependencies(rule), expected);
        assert!(dependencies("").is_empty());
    }

    #[test]
    fn a_file_that_is_changed_added_or_gone_is_a_change_and_what_is_made_or_hidden_is_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        fs::create_dir_all(path("src")).expect("made");
        fs::create_dir_all(path("target")).expect("made");
        fs::write(path("target/CACHEDIR.TAG"), "").expect("written");
        fs::write(path("src/lib.rs"), "one").expect("written");
        let before = Sources::below(directory.path());
        fs::write(path("target/made"), "").expect("written");
        fs::write(path(".lib.rs.swp"), "").expect("written");
        assert_eq!(Sources::below(directory.path()), before);
        fs::write(path("src/lib.rs"), "another").expect("written");
        let changed = Sources::below(directory.path());
        assert_ne!(changed, before);
        fs::write(path("src/more.rs"), "").expect("written");
        let more = Sources::below(directory.path());
        assert_ne!(more, changed);
        fs::remove_file(path("src/more.rs")).expect("removed");
        assert_eq!(Sources::below(directory.path()), changed);
    }
}

//! The files of `plugins/hello`, as they are built and tested there: a template that cannot rot.

use super::name::Name;

macro_rules! hello {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../../../plugins/hello/", $path)))),*]
    };
}

const FILES: &[(&str, &str)] = hello!(
    "Cargo.toml",
    "hasura/notes.yaml",
    "migrations/0001_notes.down.sql",
    "migrations/0001_notes.up.sql",
    "src/config.rs",
    "src/lib.rs",
    "src/note.rs",
    "src/routes.rs",
    "src/routes/notes.rs",
    "src/store.rs",
    "src/sweep.rs",
    "tests/it/main.rs",
    "tests/it/notes.rs",
    "tests/it/upkeep.rs",
);

/// What hello says about itself and the new plugin must not: in which file, from, to.
const OTHER_WORDS: [(&str, &str, &str); 2] = [
    (
        "Cargo.toml",
        "Notes of a family: the smallest real plugin, and the template of new ones",
        "Notes of a family",
    ),
    (
        "src/lib.rs",
        "//! Notes of a family: the smallest real plugin, and the template that `nself plugin new` copies.",
        "//! Notes of a family.",
    ),
];

/// The files of a plugin of this name: path and text.
pub(super) fn files(name: &Name) -> Vec<(String, String)> {
    let renamed = |text: &str| {
        text.replace("hello", &name.id)
            .replace("Hello", &name.type_name)
    };
    let file = |(path, text): &(&str, &str)| {
        let text = OTHER_WORDS
            .iter()
            .filter(|(file, ..)| file == path)
            .fold((*text).to_owned(), |text, (_, from, to)| {
                text.replace(from, to)
            });
        (renamed(path), renamed(&text))
    };
    FILES.iter().map(file).collect()
}

/// Whether the template's Rust says this word.
pub(super) fn mentions(word: &str) -> bool {
    let is_letter = |letter: char| letter.is_alphanumeric() || letter == '_';
    FILES
        .iter()
        .filter(|(path, _)| path.starts_with("src/"))
        .any(|(_, text)| {
            text.split(|letter| !is_letter(letter))
                .any(|found| found == word)
        })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn files_below(directory: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).expect("the directory is there") {
            let path = entry.expect("it reads").path();
            if path.is_dir() {
                files_below(&path, root, found);
            } else {
                let relative = path.strip_prefix(root).expect("it is below");
                found.push(relative.display().to_string());
            }
        }
    }

    #[test]
    fn every_file_of_hello_is_embedded() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/hello");
        let mut found = Vec::new();
        files_below(&root, &root, &mut found);
        found.sort();
        let mut embedded: Vec<&str> = FILES.iter().map(|(path, _)| *path).collect();
        embedded.sort_unstable();
        assert_eq!(
            embedded, found,
            "add the new files of plugins/hello to the table above"
        );
    }

    #[test]
    fn nothing_of_hello_is_left() {
        let name = Name::parse("albums").expect("a good name");
        for (path, text) in files(&name) {
            assert!(!text.to_lowercase().contains("hello"), "{path}: {text}");
            assert!(!text.contains("template"), "{path}: {text}");
        }
        for (path, from, _) in OTHER_WORDS {
            let (_, text) = FILES
                .iter()
                .find(|(file, _)| *file == path)
                .expect("embedded");
            assert!(
                text.contains(from),
                "{path} says something else by now: {from}"
            );
        }
    }
}

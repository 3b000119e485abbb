//! How files are named and where they stand.

use super::{Complaint, Rule, has_extension};

/// Names that say nothing about what is inside.
const EMPTY_WORDS: [&str; 7] = [
    "util", "utils", "common", "helper", "helpers", "internal", "misc",
];

/// Complains about files whose names break the rules.
pub(super) fn check(files: &[String]) -> Vec<Complaint> {
    files
        .iter()
        .filter(|file| has_extension(file, "rs"))
        .filter_map(|file| Some(complaint(file, fault(file)?)))
        .collect()
}

fn fault(file: &str) -> Option<String> {
    let mut parts: Vec<&str> = file.trim_end_matches(".rs").split('/').collect();
    if parts.pop() == Some("mod") {
        return Some("put the module into a file beside its folder: no mod.rs".to_owned());
    }
    let name = file
        .trim_end_matches(".rs")
        .split('/')
        .find(|part| EMPTY_WORDS.contains(part))?;
    Some(format!(
        "`{name}` does not say what is inside: name it for what it does"
    ))
}

fn complaint(file: &str, text: String) -> Complaint {
    Complaint {
        rule: Rule::Names,
        path: file.to_owned(),
        line: 0,
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_name(file: &str, expected: bool) {
        assert_eq!(fault(file).is_none(), expected, "{file}");
    }

    #[test]
    fn modules_stand_beside_their_folder_and_are_named_for_what_they_do() {
        check_name("host/src/http/path.rs", true);
        check_name("host/src/http/mod.rs", false);
        check_name("host/src/utils.rs", false);
        check_name("host/src/common/strings.rs", false);
        check_name("host/src/commonly.rs", true);
    }
}

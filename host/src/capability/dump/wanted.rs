//! What a plugin may say about an archive. It becomes a file's name and arguments of a program: nothing else is taken.

use serde::Deserialize;

use super::DumpError;

const NAME_CHARS_MAX: usize = 32;
const KEEP_MAX: usize = 1_000;
const PATTERNS_MAX: usize = 100;
const PATTERN_CHARS_MAX: usize = 200;

/// An archive that can be made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// What its file begins with.
    pub(super) name: String,
    /// How many of that name stay.
    pub(super) keep: usize,
    pub(super) without_schemas: Vec<String>,
    pub(super) without_rows: Vec<String>,
}

impl Wanted {
    pub(super) fn read(json: &[u8]) -> Result<Self, DumpError> {
        let wanted: Self = serde_json::from_slice(json).map_err(DumpError::Form)?;
        wanted.check()
    }

    fn check(self) -> Result<Self, DumpError> {
        let refuse = |field, expected| Err(DumpError::Wanted { field, expected });
        if !is_name(&self.name) {
            return refuse(
                "name",
                "1 to 32 small letters, digits and underscores, such as \"nightly\"",
            );
        }
        if !(1..=KEEP_MAX).contains(&self.keep) {
            return refuse("keep", "an integer from 1 to 1000");
        }
        let patterns = "at most 100 patterns of at most 200 characters, such as \"shop.*\"";
        if !are_patterns(&self.without_schemas) {
            return refuse("without_schemas", patterns);
        }
        if !are_patterns(&self.without_rows) {
            return refuse("without_rows", patterns);
        }
        Ok(self)
    }

    /// What `pg_dump` is told of it. Each pattern is part of its option's argument, so that none is taken for an option.
    pub(super) fn arguments(&self) -> impl Iterator<Item = String> {
        let schemas = self.without_schemas.iter();
        let rows = self.without_rows.iter();
        schemas
            .map(|pattern| format!("--exclude-schema={pattern}"))
            .chain(rows.map(|pattern| format!("--exclude-table-data={pattern}")))
    }
}

fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(fits)
}

fn are_patterns(patterns: &[String]) -> bool {
    let is_pattern = |pattern: &String| {
        (1..=PATTERN_CHARS_MAX).contains(&pattern.chars().count())
            && !pattern.contains(char::is_control)
    };
    patterns.len() <= PATTERNS_MAX && patterns.iter().all(is_pattern)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(field: &str, value: Value, is_taken: bool) {
        let mut wanted =
            json!({"name": "nightly", "keep": 7, "without_schemas": [], "without_rows": []});
        wanted[field] = value;
        let read = Wanted::read(wanted.to_string().as_bytes());
        assert_eq!(read.is_ok(), is_taken, "{wanted}");
    }

    #[test]
    fn a_name_is_no_path_and_no_option() {
        check("name", json!("of_2030"), true);
        for name in [
            "",
            "../etc",
            "a/b",
            "a-b",
            "-f",
            "A",
            "a\0",
            &"a".repeat(33),
        ] {
            check("name", json!(name), false);
        }
    }

    #[test]
    fn something_always_stays() {
        check("keep", json!(1), true);
        check("keep", json!(0), false);
        check("keep", json!(-1), false);
        check("keep", json!(1_001), false);
    }

    #[test]
    fn patterns_are_arguments_of_their_options() {
        check("without_rows", json!(["jobs.*", "\"a B\""]), true);
        check("without_rows", json!([""]), false);
        check("without_rows", json!(["a\nb"]), false);
        check("without_schemas", json!(vec!["a"; 101]), false);
        check("file", json!("/etc/passwd"), false);
        let wanted = json!({"name": "a", "keep": 1, "without_schemas": ["--file=/tmp/x"], "without_rows": ["jobs.*"]});
        let wanted = Wanted::read(wanted.to_string().as_bytes()).expect("it reads");
        let arguments: Vec<String> = wanted.arguments().collect();
        assert_eq!(
            arguments,
            [
                "--exclude-schema=--file=/tmp/x",
                "--exclude-table-data=jobs.*"
            ]
        );
    }
}

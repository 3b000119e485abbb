//! The name of a new plugin: it becomes its id, a schema, a route, a crate and a type.

use super::{
    super::super::{CliError, Exit},
    template,
};

/// Longest id. It is also part of a login's name, which Postgres cuts at 63 bytes.
const BYTES_MAX: usize = 40;

/// Names that belong to the host, and to whom migrations are recorded.
const TAKEN: &[&str] = &["nself", "db", "project", "public", "information_schema"];

/// Words that SQL does not take as the name of a schema without quotes, and the template writes none.
const SQL_WORDS: &str = "all analyse analyze and any array as asc asymmetric authorization binary both case cast check \
    collate collation column concurrently constraint create cross current_catalog current_date current_role \
    current_schema current_time current_timestamp current_user default deferrable desc distinct do else end except \
    false fetch for foreign freeze from full grant group having ilike in initially inner intersect into is isnull join \
    lateral leading left like limit localtime localtimestamp natural not notnull null offset on only or order outer \
    overlaps placing primary references returning right select session_user similar some symmetric system_user table \
    tablesample then to trailing true union unique user using variadic verbose when where window with";

/// A name that fits everywhere.
pub(super) struct Name {
    pub(super) id: String,
    /// The plugin's type, in camel case.
    pub(super) type_name: String,
}

impl Name {
    pub(super) fn parse(text: &str) -> Result<Self, CliError> {
        if let Some(problem) = problem(text) {
            let message = format!("`{text}` cannot be a plugin's name: {problem}");
            return Err(CliError::new("PLUGIN_NAME", Exit::Usage, message)
                .with_help("such as `notes` or `photo_albums`"));
        }
        let camel: String = text.split('_').map(capitalised).collect();
        // The template has types of its own and uses those of others: a second one of that name would not compile.
        let type_name = if template::mentions(&camel) {
            camel + "Plugin"
        } else {
            camel
        };
        Ok(Self {
            id: text.to_owned(),
            type_name,
        })
    }

    pub(super) fn crate_name(&self) -> String {
        format!("nself-plugin-{}", self.id)
    }
}

fn problem(text: &str) -> Option<String> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if !text.starts_with(|first: char| first.is_ascii_lowercase())
        || text.ends_with('_')
        || !text.bytes().all(letters)
    {
        return Some(
            "lower-case letters, digits and `_` are, beginning with a letter and not ending with `_`"
                .to_owned(),
        );
    }
    if text.len() > BYTES_MAX {
        return Some(format!("it is longer than {BYTES_MAX} letters"));
    }
    if TAKEN.contains(&text) || text.starts_with("pg_") {
        return Some("that schema belongs to the host or to Postgres".to_owned());
    }
    if SQL_WORDS.split_ascii_whitespace().any(|word| word == text) {
        return Some("it is a word of SQL".to_owned());
    }
    None
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_ascii_uppercase().to_string() + letters.as_str()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let name = Name::parse(text).ok();
        assert_eq!(
            name.map(|name| name.type_name).as_deref(),
            expected,
            "{text:?}"
        );
    }

    #[test]
    fn a_name_fits_everywhere_that_it_is_used() {
        check("albums", Some("Albums"));
        check("photo_albums2", Some("PhotoAlbums2"));
        for text in [
            "", "Albums", "2nd", "a-b", "a b", "a_", "../x", "pg_x", "nself", "user", "ä",
        ] {
            check(text, None);
        }
        check(&"a".repeat(41), None);
    }

    #[test]
    fn a_type_that_the_template_mentions_gets_another_name() {
        check("note", Some("NotePlugin"));
        check("route", Some("RoutePlugin"));
        check("self", Some("SelfPlugin"));
        check("result", Some("ResultPlugin"));
    }
}

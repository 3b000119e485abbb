//! What names in a manifest may look like.

use super::super::refusal::{ManifestFault, one_line};

/// Longest id: it is a Postgres schema, a role name with a prefix, and part of a file name.
const ID_CHARS_MAX: usize = 40;

/// Longest other name.
const NAME_CHARS_MAX: usize = 200;

/// Longest text for people: two lines of a list.
const TEXT_CHARS_MAX: usize = 300;

/// `[a-z][a-z0-9_-]{0,39}`
pub(super) fn is_id(text: &str) -> bool {
    let inner = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
    };
    text.len() <= ID_CHARS_MAX
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(inner)
}

/// `name.name/1`: words joined by dots, then the revision.
pub(super) fn is_capability(text: &str) -> bool {
    let Some((name, revision)) = text.split_once('/') else {
        return false;
    };
    let words = name.split('.').count();
    let is_revision = !revision.is_empty()
        && revision.len() <= 4
        && revision.bytes().all(|byte| byte.is_ascii_digit());
    is_revision && words >= 2 && name.split('.').all(is_id)
}

/// `schema.table`, both plain identifiers.
pub(super) fn is_table(text: &str) -> bool {
    text.split_once('.')
        .is_some_and(|(schema, table)| is_id(schema) && is_id(table))
}

/// `schema.name(type,type)`: plain identifiers, and nothing that could end the list of types.
pub(super) fn is_function(text: &str) -> bool {
    let of_types = |byte: u8| {
        byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || matches!(byte, b'_' | b' ' | b',' | b'.' | b'[' | b']')
    };
    text.len() <= NAME_CHARS_MAX
        && text
            .strip_suffix(')')
            .and_then(|text| text.split_once('('))
            .is_some_and(|(name, types)| is_table(name) && types.bytes().all(of_types))
}

/// Words joined by dots of which the first is the plugin's id: `photos.resize`.
pub(super) fn is_kind_of(plugin: &str, text: &str) -> bool {
    text.strip_prefix(plugin)
        .and_then(|rest| rest.strip_prefix('.'))
        .is_some_and(|rest| rest.len() <= NAME_CHARS_MAX && rest.split('.').all(is_id))
}

/// A file name that stays in the directory where it is put.
pub(super) fn is_file_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    !text.is_empty()
        && text.len() <= NAME_CHARS_MAX
        && !text.starts_with('.')
        && text.bytes().all(inner)
}

/// Visible characters without blanks. Operators read these names in the prompt that asks for their consent: nothing in
/// them may move the cursor.
pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= NAME_CHARS_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Refuses a text that would fill a terminal, or move its cursor.
pub(super) fn is_line(kind: &'static str, text: &str) -> Result<(), ManifestFault> {
    require(
        kind,
        text,
        !text.chars().any(char::is_control),
        "use one line without control characters",
    )?;
    require(
        kind,
        text,
        text.chars().count() <= TEXT_CHARS_MAX,
        "use up to 300 characters",
    )
}

/// Refuses a name that breaks its rule.
pub(super) fn require(
    kind: &'static str,
    name: &str,
    valid: bool,
    rule: &'static str,
) -> Result<(), ManifestFault> {
    if valid {
        return Ok(());
    }
    Err(ManifestFault::Name {
        kind,
        name: one_line(name),
        rule,
    })
}

/// Refuses the second of two equal names.
pub(super) fn unique<'a>(
    kind: &'static str,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), ManifestFault> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(ManifestFault::Twice {
                kind,
                name: one_line(name),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let forty = "a".repeat(40);
        for good in ["a", "auth", "mail-catcher", "jobs_2", &forty] {
            assert!(is_id(good), "{good}");
        }
        for bad in [
            "",
            "1a",
            "-a",
            "Auth",
            "a b",
            "a.b",
            "ä",
            "a/b",
            "../a",
            &format!("{forty}a"),
        ] {
            assert!(!is_id(bad), "{bad}");
        }
    }

    #[test]
    fn capabilities() {
        for good in ["nself.db/1", "mail.send/1", "a.b.c/0"] {
            assert!(is_capability(good), "{good}");
        }
        for bad in [
            "nself.db",
            "db/1",
            "nself.db/",
            "nself.db/x",
            "nself..db/1",
            "Nself.db/1",
            "nself.db/1/2",
            "a.b/99999",
        ] {
            assert!(!is_capability(bad), "{bad}");
        }
    }

    #[test]
    fn tables_and_files() {
        assert!(is_table("public.families"));
        for bad in [
            "families",
            "public.",
            "public.a.b",
            "public.\"x\"",
            "public.a;b",
        ] {
            assert!(!is_table(bad), "{bad}");
        }
        for good in [
            "jobs.enqueue(text,jsonb)",
            "a-b.now()",
            "a.b(pg_catalog.int4[], double precision)",
        ] {
            assert!(is_function(good), "{good}");
        }
        for bad in [
            "a.b",
            "b(text)",
            "a.b(text",
            "a.b(text))",
            "a.b(text); drop",
            "a.b('x')",
        ] {
            assert!(!is_function(bad), "{bad}");
        }
        assert!(is_kind_of("photos", "photos.resize.large"));
        for bad in [
            "photos",
            "photos.",
            "resize",
            "other.resize",
            "photos2.resize",
            "photos.Big",
        ] {
            assert!(!is_kind_of("photos", bad), "{bad}");
        }
        assert!(is_file_name("notes.yaml"));
        for bad in ["", ".", "..", "../x.yaml", "a/b.yaml", ".hidden"] {
            assert!(!is_file_name(bad), "{bad}");
        }
    }
}

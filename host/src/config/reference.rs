//! The reference page of all keys, made from the table: `docs/configuration.md` is compared with it in a test.

use std::fmt::Write;

use serde_json::Value;

use super::{Config, KEYS, variables};

const INTRODUCTION: &str = include_str!("reference/introduction.md");

/// The page as Markdown.
pub fn reference() -> String {
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    let mut page = INTRODUCTION.to_owned();
    let mut section = "";
    for key in KEYS {
        let (table, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if table != section || table.is_empty() {
            section = table;
            let heading = if table.is_empty() {
                "top level".to_owned()
            } else {
                format!("[{}]", table.replace('*', "<name>"))
            };
            add(
                &mut page,
                format_args!(
                    "\n## `{heading}`\n\n| key | default | what it is |\n| --- | --- | --- |\n"
                ),
            );
        }
        let value = defaults.pointer(&format!("/{}", key.path.replace('.', "/")));
        let default = match value {
            None | Some(Value::Null) => "none".to_owned(),
            Some(Value::String(text)) if text.is_empty() => "none".to_owned(),
            Some(value) => format!("`{value}`"),
        };
        let variable = variables::variable_of(key.path).replace('*', "<NAME>");
        let (kind, about) = (key.kind.expected(), key.about);
        add(
            &mut page,
            format_args!(
                "| `{name}` | {default} | {about} Must be {kind}. Variable: `{variable}`. |\n"
            ),
        );
    }
    page
}

fn add(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("a string takes all text");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_GOLDEN=1 cargo test -p nself reference` writes the page.
    #[test]
    fn the_page_in_docs_is_this_one() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(file, reference()).expect("the page is written");
        }
        let page = std::fs::read_to_string(file).expect("the page is there");
        assert_eq!(
            page,
            reference(),
            "run `UPDATE_GOLDEN=1 cargo test -p nself reference`"
        );
    }
}

//! What is written above types, fields and variants, read once into plain data.

mod overrides;
mod serde;

pub(crate) use overrides::{Overrides, option};
pub(crate) use serde::{By, Container, Field, Tagging, Variant};

use std::collections::HashSet;

use syn::meta::ParseNestedMeta;
use syn::{Attribute, Expr, ExprLit, Lit, Meta, Result};

/// Reads each `key` of `#[name(key, key = value, ..)]`; a key may stand there once.
fn each(
    attributes: &[Attribute],
    name: &str,
    mut read: impl FnMut(&str, &ParseNestedMeta<'_>) -> Result<()>,
) -> Result<()> {
    let mut seen = HashSet::new();
    for attribute in attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident(name))
    {
        attribute.parse_nested_meta(|meta| {
            let key = meta
                .path
                .get_ident()
                .map(ToString::to_string)
                .unwrap_or_default();
            read(&key, &meta)?;
            if seen.insert(key) {
                Ok(())
            } else {
                Err(meta.error("stands here twice"))
            }
        })?;
    }
    Ok(())
}

/// The doc comment: its lines, without the space that every line begins with.
pub(crate) fn description(attributes: &[Attribute]) -> String {
    let lines: Vec<String> = attributes.iter().filter_map(doc).collect();
    let lines: Vec<&str> = lines
        .iter()
        .flat_map(|text| text.split('\n'))
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
        .collect();
    lines.join("\n").trim().to_owned()
}

fn doc(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(meta) = &attribute.meta else {
        return None;
    };
    match &meta.value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) if meta.path.is_ident("doc") => Some(text.value()),
        _ => None,
    }
}

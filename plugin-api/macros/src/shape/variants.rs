//! Enums: one shape out of the variants, by the way in which serde tells them apart.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::{DataEnum, DeriveInput, Error, Fields, Result};

use super::{fields, object};
use crate::attributes::{self, Container, Overrides, Tagging, description};

/// A variant that serde knows.
struct Variant<'a> {
    name: String,
    description: String,
    rules: fields::Rules,
    closed: bool,
    syntax: &'a syn::Variant,
}

pub(super) fn shape(
    input: &DeriveInput,
    data: &DataEnum,
    container: &Container,
) -> Result<TokenStream> {
    let variants = read(data, container)?;
    if variants.is_empty() {
        return Err(Error::new(
            input.ident.span(),
            "an enum without variants has no schema",
        ));
    }
    let shapes = match container.tagging() {
        Tagging::External => return external(&variants),
        Tagging::Internal(tag) => variants
            .iter()
            .map(|variant| variant.internal(&tag))
            .collect::<Result<Vec<_>>>()?,
        Tagging::Adjacent(tag, content) => variants
            .iter()
            .map(|variant| variant.adjacent(&tag, &content))
            .collect::<Result<Vec<_>>>()?,
    };
    Ok(one_of(&shapes))
}

fn read<'a>(data: &'a DataEnum, container: &Container) -> Result<Vec<Variant<'a>>> {
    let mut variants = Vec::new();
    for syntax in &data.variants {
        let serde = attributes::Variant::read(&syntax.attrs)?;
        Overrides::read(&syntax.attrs)?
            .refuse("a variant has no limits: they stand on its fields")?;
        if serde.skip {
            continue;
        }
        let name = syntax.ident.unraw().to_string();
        variants.push(Variant {
            name: serde.rename.unwrap_or_else(|| {
                container
                    .rename_all
                    .map_or_else(|| name.clone(), |case| case.variant(&name))
            }),
            description: description(&syntax.attrs),
            rules: fields::Rules {
                case: serde.rename_all.or(container.rename_all_fields),
                default: false,
            },
            closed: container.closed,
            syntax,
        });
    }
    Ok(variants)
}

/// The names of the variants that hold nothing, and an object with one key for each of the others.
fn external(variants: &[Variant<'_>]) -> Result<TokenStream> {
    let (names, others): (Vec<_>, Vec<_>) = variants.iter().partition(|variant| variant.is_unit());
    let mut shapes = Vec::new();
    if !names.is_empty() {
        shapes.push(choice(names.iter().map(|variant| variant.name.as_str())));
    }
    for variant in &others {
        shapes.push(variant.external()?);
    }
    Ok(if others.is_empty() {
        shapes.remove(0)
    } else {
        one_of(&shapes)
    })
}

impl Variant<'_> {
    fn is_unit(&self) -> bool {
        matches!(self.syntax.fields, Fields::Unit)
    }

    fn external(&self) -> Result<TokenStream> {
        let (content, description) = match &self.syntax.fields {
            Fields::Named(_) => (self.content()?, ""),
            _ => (self.content()?, self.description.as_str()),
        };
        // serde refuses a second key here, whatever the type says about unknown fields.
        Ok(object(
            description,
            &[fields::required(&self.name, &content)],
            true,
        ))
    }

    fn internal(&self, tag: &str) -> Result<TokenStream> {
        if matches!(self.syntax.fields, Fields::Unnamed(_)) {
            let reason = "the keys of the type inside are not known here: name the fields, or add serde's `content`";
            return Err(Error::new(self.syntax.ident.span(), reason));
        }
        let mut all = vec![self.tag(tag)];
        all.extend(fields::all(&self.syntax.fields, &self.rules)?);
        Ok(object(&self.description, &all, self.closed))
    }

    fn adjacent(&self, tag: &str, content: &str) -> Result<TokenStream> {
        let mut all = vec![self.tag(tag)];
        if !self.is_unit() {
            all.push(fields::required(content, &self.content()?));
        }
        Ok(object(&self.description, &all, self.closed))
    }

    fn tag(&self, tag: &str) -> TokenStream {
        fields::required(tag, &choice([self.name.as_str()]))
    }

    /// What a variant holds.
    fn content(&self) -> Result<TokenStream> {
        match &self.syntax.fields {
            fields @ Fields::Named(_) => Ok(object(
                &self.description,
                &fields::all(fields, &self.rules)?,
                self.closed,
            )),
            fields => fields::inner(fields, self.syntax.ident.span()),
        }
    }
}

fn choice<'a>(names: impl IntoIterator<Item = &'a str>) -> TokenStream {
    let names = names.into_iter();
    quote!(::nself_plugin_api::schema::Shape::Choice(&[#(#names),*]))
}

fn one_of(shapes: &[TokenStream]) -> TokenStream {
    quote!(::nself_plugin_api::schema::Shape::OneOf(&const { [#(&const { #shapes }),*] }))
}

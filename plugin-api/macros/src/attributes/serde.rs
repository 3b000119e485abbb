//! serde's attributes, as far as they change the JSON. One that is unknown here is an error: a schema that silently says
//! something else than serde does is worse than none.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::meta::ParseNestedMeta;
use syn::parse::Parse;
use syn::{Attribute, Lit, LitStr, Result, Token, Type, parenthesized};

use crate::case::Case;

/// How an enum shows which variant it is.
pub(crate) enum Tagging {
    /// `{"variant": content}`
    External,
    /// `{"tag": "variant", content..}`
    Internal(String),
    /// `{"tag": "variant", "content": content}`
    Adjacent(String, String),
}

/// What serde's attributes say about a type.
#[derive(Default)]
pub(crate) struct Container {
    pub(crate) rename_all: Option<Case>,
    pub(crate) rename_all_fields: Option<Case>,
    pub(crate) closed: bool,
    pub(crate) default: bool,
    pub(crate) transparent: bool,
    /// The type that is converted from or into, as which this one is read and written.
    pub(crate) proxy: Option<Type>,
    tag: Option<LitStr>,
    content: Option<LitStr>,
}

impl Container {
    pub(crate) fn read(attributes: &[Attribute]) -> Result<Self> {
        let mut container = Self::default();
        super::each(attributes, "serde", |key, meta| container.key(key, meta))?;
        Ok(container)
    }

    fn key(&mut self, key: &str, meta: &ParseNestedMeta<'_>) -> Result<()> {
        match key {
            "rename_all" => self.rename_all = Some(Case::parse(&both_ways(meta)?)?),
            "rename_all_fields" => self.rename_all_fields = Some(Case::parse(&both_ways(meta)?)?),
            "deny_unknown_fields" => self.closed = true,
            "transparent" => self.transparent = true,
            "default" => {
                self.default = true;
                pass_over(meta)?;
            }
            "tag" => self.tag = Some(meta.value()?.parse()?),
            "content" => self.content = Some(meta.value()?.parse()?),
            "from" | "try_from" | "into" => self.proxy(meta)?,
            "rename" | "bound" | "crate" | "expecting" => pass_over(meta)?,
            "untagged" => {
                return Err(meta.error(
                    "an untagged enum has no schema: its variants may overlap; give it a tag",
                ));
            }
            "remote" | "field_identifier" | "variant_identifier" => {
                return Err(meta.error("not supported by derive(Schema)"));
            }
            _ => return Err(unknown(meta)),
        }
        Ok(())
    }

    fn proxy(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let proxy: Type = meta.value()?.parse::<LitStr>()?.parse()?;
        match &self.proxy {
            Some(other) if same(other, &proxy) => Ok(()),
            Some(_) => Err(meta.error(
                "the type is read and written as different types: one schema cannot say both",
            )),
            None => {
                self.proxy = Some(proxy);
                Ok(())
            }
        }
    }

    /// How the variants of an enum are told apart.
    pub(crate) fn tagging(&self) -> Tagging {
        match (&self.tag, &self.content) {
            (Some(tag), Some(content)) => Tagging::Adjacent(tag.value(), content.value()),
            (Some(tag), None) => Tagging::Internal(tag.value()),
            // Content without a tag is serde's error to report.
            (None, _) => Tagging::External,
        }
    }

    /// An error when a struct has a tag.
    pub(crate) fn without_tag(&self) -> Result<()> {
        self.tag.as_ref().map_or(Ok(()), |tag| {
            Err(syn::Error::new(
                tag.span(),
                "the tag of a struct is not supported by derive(Schema): write it as a field",
            ))
        })
    }
}

/// Who reads and writes a field.
#[derive(Default, Clone, Copy, PartialEq)]
pub(crate) enum By {
    /// serde, by its type.
    #[default]
    Type,
    /// A function writes it, so its type does not tell what the JSON is.
    Writer,
    /// A function reads it, and perhaps one writes it; then even an `Option` must be there.
    Reader,
}

/// What serde's attributes say about a field.
#[derive(Default)]
pub(crate) struct Field {
    pub(crate) rename: Option<String>,
    pub(crate) skip: bool,
    /// Whether it may be absent in one direction, whatever its type.
    pub(crate) optional: bool,
    /// Whether serde has a value for an absent key.
    pub(crate) default: bool,
    pub(crate) by: By,
}

impl Field {
    pub(crate) fn read(attributes: &[Attribute]) -> Result<Self> {
        let mut field = Self::default();
        super::each(attributes, "serde", |key, meta| field.key(key, meta))?;
        Ok(field)
    }

    fn key(&mut self, key: &str, meta: &ParseNestedMeta<'_>) -> Result<()> {
        match key {
            "rename" => self.rename = Some(both_ways(meta)?.value()),
            "skip" => self.skip = true,
            "skip_serializing" | "skip_deserializing" | "skip_serializing_if" => {
                self.optional = true;
                pass_over(meta)?;
            }
            "default" => {
                self.default = true;
                pass_over(meta)?;
            }
            "with" | "deserialize_with" => {
                self.by = By::Reader;
                pass_over(meta)?;
            }
            "serialize_with" => {
                if self.by == By::Type {
                    self.by = By::Writer;
                }
                pass_over(meta)?;
            }
            "bound" | "borrow" => pass_over(meta)?,
            "flatten" => {
                return Err(meta.error("flatten is not supported by derive(Schema): the keys of another type are not known here; write the fields out"));
            }
            "alias" => {
                return Err(meta.error("a schema cannot show a second name; remove the alias"));
            }
            "getter" => return Err(meta.error("not supported by derive(Schema)")),
            _ => return Err(unknown(meta)),
        }
        Ok(())
    }
}

/// What serde's attributes say about a variant.
#[derive(Default)]
pub(crate) struct Variant {
    pub(crate) rename: Option<String>,
    pub(crate) rename_all: Option<Case>,
    pub(crate) skip: bool,
}

impl Variant {
    pub(crate) fn read(attributes: &[Attribute]) -> Result<Self> {
        let mut variant = Self::default();
        super::each(attributes, "serde", |key, meta| variant.key(key, meta))?;
        Ok(variant)
    }

    fn key(&mut self, key: &str, meta: &ParseNestedMeta<'_>) -> Result<()> {
        match key {
            "rename" => self.rename = Some(both_ways(meta)?.value()),
            "rename_all" => self.rename_all = Some(Case::parse(&both_ways(meta)?)?),
            "skip" => self.skip = true,
            // It is still met in the other direction.
            "skip_serializing" | "skip_deserializing" => {}
            "bound" | "borrow" => pass_over(meta)?,
            "alias" => {
                return Err(meta.error("a schema cannot show a second name; remove the alias"));
            }
            "with" | "serialize_with" | "deserialize_with" | "other" | "untagged" => {
                return Err(meta.error("not supported on a variant by derive(Schema)"));
            }
            _ => return Err(unknown(meta)),
        }
        Ok(())
    }
}

/// `key = "text"`, or `key(serialize = "text", deserialize = "text")` when both are the same.
fn both_ways(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    if meta.input.peek(Token![=]) {
        return meta.value()?.parse();
    }
    let mut texts = Vec::new();
    meta.parse_nested_meta(|way| {
        texts.push(way.value()?.parse::<LitStr>()?);
        Ok(())
    })?;
    match texts.as_slice() {
        [one, other] if one.value() == other.value() => Ok(one.clone()),
        _ => Err(meta.error("different names for reading and writing: one schema cannot say both")),
    }
}

/// Takes the value of a key, if it has one, which does not matter here.
fn pass_over(meta: &ParseNestedMeta<'_>) -> Result<()> {
    if meta.input.peek(Token![=]) {
        Lit::parse(meta.value()?)?;
    } else if meta.input.peek(syn::token::Paren) {
        let content;
        parenthesized!(content in meta.input);
        TokenStream::parse(&content)?;
    }
    Ok(())
}

fn unknown(meta: &ParseNestedMeta<'_>) -> syn::Error {
    meta.error("derive(Schema) does not know what this attribute of serde does to the JSON")
}

fn same(one: &Type, other: &Type) -> bool {
    one.to_token_stream().to_string() == other.to_token_stream().to_string()
}

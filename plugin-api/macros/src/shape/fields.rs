//! The fields of a struct or of a variant.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Error, Fields, Ident, Result, Type};

use crate::attributes::{self, By, Overrides, description};
use crate::case::Case;

/// What the type says about all its fields.
pub(super) struct Rules {
    pub(super) case: Option<Case>,
    /// Whether serde fills in absent fields.
    pub(super) default: bool,
}

/// A `Field { .. }` for each named field that is not skipped.
pub(super) fn all(fields: &Fields, rules: &Rules) -> Result<Vec<TokenStream>> {
    let mut all = Vec::new();
    for field in fields {
        let (serde, overrides) = read(field)?;
        let (Some(name), false) = (&field.ident, serde.skip) else {
            continue;
        };
        all.push(one(name, field, &serde, &overrides, rules)?);
    }
    Ok(all)
}

fn one(
    name: &Ident,
    field: &syn::Field,
    serde: &attributes::Field,
    overrides: &Overrides,
    rules: &Rules,
) -> Result<TokenStream> {
    let shape = overrides.shape(&field.ty);
    let name = name.unraw().to_string();
    let name = serde.rename.clone().unwrap_or_else(|| {
        rules
            .case
            .map_or_else(|| name.clone(), |case| case.field(&name))
    });
    let filled = serde.default || rules.default;
    if let Some(default) = overrides.default.as_ref().filter(|_| !filled) {
        return Err(Error::new(
            default.span(),
            "the field has no serde default: add #[serde(default)]",
        ));
    }
    let required = if filled || serde.optional {
        quote!(false)
    } else if serde.by == By::Reader {
        quote!(true)
    } else {
        // The constant is asked, not the name of the type: an alias of an `Option` is one too.
        quote!(!#shape.is_nullable())
    };
    let default = overrides.default.as_ref().map(|text| quote!(#text));
    Ok(literal(
        &name,
        &description(&field.attrs),
        &shape,
        &required,
        default.as_ref(),
    ))
}

/// A field that must be there.
pub(super) fn required(name: &str, shape: &TokenStream) -> TokenStream {
    literal(name, "", shape, &quote!(true), None)
}

fn literal(
    name: &str,
    description: &str,
    shape: &TokenStream,
    required: &TokenStream,
    default: Option<&TokenStream>,
) -> TokenStream {
    let default = attributes::option(default);
    quote! {
        ::nself_plugin_api::schema::Field {
            name: #name,
            description: #description,
            shape: #shape,
            required: #required,
            default: #default,
        }
    }
}

/// The shape of the only field, where a type or a variant is what it holds.
pub(super) fn inner(fields: &Fields, place: Span) -> Result<TokenStream> {
    let mut shapes = Vec::new();
    for field in fields {
        let (serde, overrides) = read(field)?;
        if let Some(default) = &overrides.default {
            return Err(Error::new(
                default.span(),
                "a default belongs to a named field",
            ));
        }
        if !serde.skip {
            shapes.push(overrides.shape(&field.ty));
        }
    }
    match <[TokenStream; 1]>::try_from(shapes) {
        Ok([shape]) => Ok(shape),
        Err(_) => Err(Error::new(
            place,
            "needs exactly one field: a tuple has no schema, name its fields",
        )),
    }
}

/// The attributes of a field, which must tell what its JSON is.
fn read(field: &syn::Field) -> Result<(attributes::Field, Overrides)> {
    let serde = attributes::Field::read(&field.attrs)?;
    let overrides = Overrides::read(&field.attrs)?;
    if serde.by != By::Type && !serde.skip && overrides.as_type.is_none() {
        let place = field
            .ident
            .as_ref()
            .map_or_else(|| Type::span(&field.ty), Ident::span);
        return Err(Error::new(
            place,
            "a function decides the JSON of this field: say what it is with #[schema(as = Type)]",
        ));
    }
    Ok((serde, overrides))
}

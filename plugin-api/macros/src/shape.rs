//! From a type's definition to the constant expression of its shape.

mod fields;
mod variants;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DataStruct, DeriveInput, Error, Fields, Result, parse_quote};

use crate::attributes::{Container, Overrides, description};

/// The whole `impl Schema for ..`.
pub(crate) fn implement(input: &DeriveInput) -> Result<TokenStream> {
    let shape = shape(input)?;
    let name = &input.ident;
    let mut generics = input.generics.clone();
    for parameter in generics.type_params_mut() {
        parameter
            .bounds
            .push(parse_quote!(::nself_plugin_api::schema::Schema));
    }
    let (parameters, arguments, conditions) = generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #parameters ::nself_plugin_api::schema::Schema for #name #arguments #conditions {
            const SHAPE: ::nself_plugin_api::schema::Shape = #shape;
        }
    })
}

fn shape(input: &DeriveInput) -> Result<TokenStream> {
    let container = Container::read(&input.attrs)?;
    let overrides = Overrides::read(&input.attrs)?;
    if let Some(default) = &overrides.default {
        return Err(Error::new(default.span(), "a default belongs to a field"));
    }
    if let Some(type_) = overrides.as_type.as_ref().or(container.proxy.as_ref()) {
        return Ok(overrides.shape(type_));
    }
    match &input.data {
        Data::Struct(data) => structure(input, data, &container, &overrides),
        Data::Enum(data) => {
            overrides.refuse("an enum has no limits")?;
            variants::shape(input, data, &container)
        }
        Data::Union(data) => Err(Error::new(data.union_token.span, "a union has no schema")),
    }
}

fn structure(
    input: &DeriveInput,
    data: &DataStruct,
    container: &Container,
    overrides: &Overrides,
) -> Result<TokenStream> {
    container.without_tag()?;
    match &data.fields {
        Fields::Unit => Err(Error::new(
            input.ident.span(),
            "a unit struct is null in JSON: give it braces or fields",
        )),
        fields @ Fields::Named(_) if !container.transparent => {
            overrides.refuse("limits of an object stand on its fields")?;
            let description = description(&input.attrs);
            let rules = fields::Rules {
                case: container.rename_all,
                default: container.default,
            };
            Ok(object(
                &description,
                &fields::all(fields, &rules)?,
                container.closed,
            ))
        }
        fields => {
            overrides.refuse("the limits stand on the field inside")?;
            fields::inner(fields, input.ident.span())
        }
    }
}

/// An object shape. The constants are inline blocks because a generic type has no other place for them.
fn object(description: &str, fields: &[TokenStream], closed: bool) -> TokenStream {
    quote! {
        ::nself_plugin_api::schema::Shape::Object(&const {
            ::nself_plugin_api::schema::Object {
                description: #description,
                fields: &const { [#(#fields),*] as [::nself_plugin_api::schema::Field; _] },
                closed: #closed,
            }
        })
    }
}

//! `#[schema(..)]`: what serde does not know.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{Attribute, Error, LitInt, LitStr, Result, Token, Type};

/// What `#[schema(..)]` says about a field or a type.
#[derive(Default)]
pub(crate) struct Overrides {
    /// The type whose schema counts.
    pub(crate) as_type: Option<Type>,
    /// JSON text of the value that stands for an absent key.
    pub(crate) default: Option<LitStr>,
    /// Initialisers of `Text`.
    text: Vec<TokenStream>,
    minimum: Option<TokenStream>,
    maximum: Option<TokenStream>,
    /// Where the first limit stands.
    limits: Option<Span>,
}

impl Overrides {
    pub(crate) fn read(attributes: &[Attribute]) -> Result<Self> {
        let mut overrides = Self::default();
        super::each(attributes, "schema", |key, meta| overrides.key(key, meta))?;
        Ok(overrides)
    }

    fn key(&mut self, key: &str, meta: &ParseNestedMeta<'_>) -> Result<()> {
        match key {
            "as" => self.as_type = Some(meta.value()?.parse()?),
            "default" => self.default = Some(json(meta.value()?.parse()?)?),
            "minimum" => self.minimum = Some(self.limit(meta, integer)?),
            "maximum" => self.maximum = Some(self.limit(meta, integer)?),
            "min_length" | "max_length" => {
                let length = self.limit(meta, length)?;
                self.text(meta, &length);
            }
            "pattern" | "format" => {
                let text = self.limit(meta, |meta| {
                    Ok(meta.value()?.parse::<LitStr>()?.into_token_stream())
                })?;
                self.text(meta, &text);
            }
            _ => {
                return Err(
                    meta.error("expected as, default, min_length, max_length, pattern, format, minimum or maximum")
                );
            }
        }
        Ok(())
    }

    fn limit(
        &mut self,
        meta: &ParseNestedMeta<'_>,
        read: impl Fn(&ParseNestedMeta<'_>) -> Result<TokenStream>,
    ) -> Result<TokenStream> {
        self.limits.get_or_insert(meta.path.span());
        read(meta)
    }

    fn text(&mut self, meta: &ParseNestedMeta<'_>, value: &TokenStream) {
        let name = &meta.path;
        self.text
            .push(quote!(#name: ::core::option::Option::Some(#value)));
    }

    /// The shape of `natural`, or of the type that stands for it, with the limits.
    pub(crate) fn shape(&self, natural: &Type) -> TokenStream {
        let shape = shape_of(self.as_type.as_ref().unwrap_or(natural));
        let Some(place) = self.limits else {
            return shape;
        };
        let text = self.text_limits(place);
        let integer = self.integer_limits(place);
        // Two steps, because a constant function cannot make the reference that `Nullable` holds: the constant here can.
        quote! {
            #shape.with_value(&const { #shape.value() #text #integer })
        }
    }

    fn text_limits(&self, place: Span) -> Option<TokenStream> {
        let limits = &self.text;
        (!limits.is_empty()).then(|| {
            quote_spanned!(place=> .with_text_limits(&::nself_plugin_api::schema::Text { #(#limits,)* ..::nself_plugin_api::schema::Text::ANY }))
        })
    }

    fn integer_limits(&self, place: Span) -> Option<TokenStream> {
        let (minimum, maximum) = (option(self.minimum.as_ref()), option(self.maximum.as_ref()));
        (self.minimum.is_some() || self.maximum.is_some())
            .then(|| quote_spanned!(place=> .with_integer_limits(#minimum, #maximum)))
    }

    /// An error unless nothing was said; `reason` says why nothing can be.
    pub(crate) fn refuse(&self, reason: &str) -> Result<()> {
        let place = self
            .as_type
            .as_ref()
            .map(Spanned::span)
            .or_else(|| self.default.as_ref().map(LitStr::span))
            .or(self.limits);
        place.map_or(Ok(()), |span| Err(Error::new(span, reason)))
    }
}

/// The shape of a type. It is spanned as the type, so that "the trait `Schema` is not implemented" points there.
pub(crate) fn shape_of(type_: &Type) -> TokenStream {
    quote_spanned!(type_.span()=> <#type_ as ::nself_plugin_api::schema::Schema>::SHAPE)
}

pub(crate) fn option(value: Option<&TokenStream>) -> TokenStream {
    value.map_or_else(
        || quote!(::core::option::Option::None),
        |value| quote!(::core::option::Option::Some(#value)),
    )
}

fn length(meta: &ParseNestedMeta<'_>) -> Result<TokenStream> {
    let number: LitInt = meta.value()?.parse()?;
    let length: u32 = number
        .base10_parse()
        .map_err(|_| Error::new(number.span(), "is not a number of characters"))?;
    Ok(quote!(#length))
}

fn integer(meta: &ParseNestedMeta<'_>) -> Result<TokenStream> {
    let value = meta.value()?;
    let minus: Option<Token![-]> = value.parse()?;
    let number: LitInt = value.parse()?;
    // The digits, not the literal: `10_u8` is a good limit of a number of any type.
    let number: i128 = number.base10_parse()?;
    Ok(quote!(#minus #number))
}

/// The text, if it is JSON: it is pasted into the manifest as it is.
fn json(text: LitStr) -> Result<LitStr> {
    match serde_json::from_str::<serde_json::Value>(&text.value()) {
        Ok(_) => Ok(text),
        Err(error) => Err(Error::new(
            text.span(),
            format!("is not JSON: {error}; a text needs quotes inside: \"\\\"text\\\"\""),
        )),
    }
}

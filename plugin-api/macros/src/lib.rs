//! `#[derive(Schema)]`: what a type looks like in JSON, as a constant, read from the attributes that serde reads.

mod attributes;
mod case;
#[cfg(test)]
mod refusals;
mod shape;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `nself_plugin_api::Schema` for a type that serde reads and writes.
///
/// Put it beside serde's derives. It follows their attributes, so that the schema says what they do: `rename`,
/// `rename_all`, `rename_all_fields`, `default`, `skip`, `deny_unknown_fields`, `transparent`, `tag`, `content`, `from`,
/// `try_from` and `into`. Doc comments become descriptions. A key is not required when it has a serde default, may be
/// left out of an answer, or holds an `Option`.
///
/// | type | schema |
/// |---|---|
/// | struct with named fields | object; closed with `deny_unknown_fields` |
/// | tuple struct with one field, or `transparent` | what is inside |
/// | enum of names, without `tag` | one of these texts |
/// | enum with `tag`, or `tag` and `content` | one of the variants' objects |
/// | any other enum | one of `{"name": what is inside}` and, for variants that hold nothing, the names |
///
/// What serde does not know stands in `#[schema(..)]` on a field (or on a type whose schema is another type's):
///
/// | attribute | meaning |
/// |---|---|
/// | `min_length = 1`, `max_length = 200` | limits of a text, in characters |
/// | `pattern = "^[a-z]+$"`, `format = "email"` | its regular expression (ECMA-262), its JSON Schema format |
/// | `minimum = 0`, `maximum = 10` | limits of a whole number, within those of its type |
/// | `default = "[1, 2]"` | the value, as JSON text, that stands for an absent key; the field needs a serde default |
/// | `as = String` | take the schema of this type, where serde's `with` (or a foreign type) decides the JSON |
///
/// Limits on an `Option` are those of the value inside. A type that contains itself has no schema of finite size: end it
/// with `#[schema(as = serde_json::Value)]`.
///
/// # Errors
///
/// Does not compile, with the reason at its place, for what a schema cannot say or serde decides at run time: `flatten`,
/// `alias`, `untagged`, `other`, tuples, different names in the two directions, limits on something without them.
#[proc_macro_derive(Schema, attributes(schema, serde))]
pub fn derive_schema(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    shape::implement(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

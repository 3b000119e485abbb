//! What Apple posts beside the code when somebody signs in for the first time: their name, which its tokens never have.
//!
//! It comes through the browser and nobody signs it, so it is a proposal for what a new account is called and no more; an
//! address in it is not read. On the way from the posted form to the page that has the browser's cookie it stands in an
//! address, sealed, so that a person's name is in nobody's logs.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nself_plugin_api::{prelude::*, serde_json};
use serde::Deserialize;

use super::userinfo::NAME_LENGTH_MAX;
use crate::account;

/// Longest field that is looked at.
pub(crate) const FIELD_BYTES_MAX: usize = 4_096;

#[derive(Deserialize)]
struct Field {
    name: Option<Name>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Name {
    first_name: Option<String>,
    last_name: Option<String>,
}

/// The name in the field, if there is one that can be somebody's.
fn name(field: &str) -> Option<String> {
    if field.len() > FIELD_BYTES_MAX {
        return None;
    }
    let Name {
        first_name,
        last_name,
    } = serde_json::from_str::<Field>(field).ok()?.name?;
    let parts = [first_name, last_name].into_iter().flatten();
    let name: Vec<String> = parts.map(|part| part.trim().to_owned()).collect();
    let name: String = name.join(" ").chars().take(NAME_LENGTH_MAX).collect();
    account::display_name(name.trim())
        .ok()
        .filter(|name| !name.is_empty())
}

/// The name in the field, sealed for the flow of that state.
pub(crate) fn seal(context: &Context, field: &str, state: &str) -> Result<Option<String>> {
    let Some(name) = name(field) else {
        return Ok(None);
    };
    let sealed = context.crypto().seal(name.as_bytes(), &purpose(state))?;
    Ok(Some(URL_SAFE_NO_PAD.encode(sealed)))
}

/// The name that [`seal`] sealed. What is something else is no name.
pub(crate) fn open(context: &Context, sealed: &str, state: &str) -> Option<String> {
    let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
    let name = context.crypto().open(&sealed, &purpose(state)).ok()?;
    String::from_utf8(name.to_vec()).ok()
}

fn purpose(state: &str) -> Vec<u8> {
    [b"provider user ", state.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_and_nothing_else() {
        let told = |field: &str| name(field);
        let whole =
            r#"{"name":{"firstName":" Ada ","lastName":"Lovelace"},"email":"a@example.org"}"#;
        assert_eq!(told(whole).as_deref(), Some("Ada Lovelace"));
        let half = r#"{"name":{"firstName":"Ada"}}"#;
        assert_eq!(told(half).as_deref(), Some("Ada"));
        let long = format!(r#"{{"name":{{"firstName":"{}"}}}}"#, "a".repeat(5_000));
        for nothing in [
            "",
            "{}",
            "null",
            r#"{"name":1}"#,
            r#"{"name":{"firstName":" "}}"#,
            r#"{"name":{"firstName":"a\u0000b"}}"#,
            &*long,
        ] {
            assert_eq!(told(nothing), None, "{nothing:.40}");
        }
    }
}

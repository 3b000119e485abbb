//! The forms and errors of OAuth 2.0 (RFC 6749): its clients send no JSON, and read other errors than the house's.

use nself_plugin_api::{
    extract::{Extract, Request},
    http::StatusCode,
    prelude::*,
    serde_json::{self, json},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::routes::Private;

/// Why a client does not get what it asks for.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// One of the errors that the standard names (RFC 6749, section 5.2; RFC 8628, section 3.5).
    Named {
        error: &'static str,
        description: &'static str,
    },
    /// Anything else, such as a database that is away: the house's own shape.
    Other(Error),
}

impl Refusal {
    pub(crate) const fn new(error: &'static str, description: &'static str) -> Self {
        Self::Named { error, description }
    }

    pub(crate) const fn request(description: &'static str) -> Self {
        Self::new("invalid_request", description)
    }

    pub(crate) const fn grant() -> Self {
        Self::new(
            "invalid_grant",
            "the code or token is wrong, was used before, or is another client's",
        )
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// An answer to an OAuth client.
pub(crate) struct Outcome<T>(pub(crate) Result<T, Refusal>);

impl<T: Serialize> Respond for Outcome<T> {
    fn respond(self) -> Result<Response> {
        let (status, body) = match self.0 {
            Ok(answer) => (StatusCode::OK, serde_json::to_string(&answer)),
            Err(Refusal::Named { error, description }) => {
                let body = json!({"error": error, "error_description": description});
                (StatusCode::BAD_REQUEST, Ok(body.to_string()))
            }
            Err(Refusal::Other(error)) => return Err(error),
        };
        let body = body.map_err(Error::internal)?;
        Private(Response::new(status, body).content_type("application/json")).respond()
    }
}

/// A form, or why it does not read. What it has beside the known fields is passed over, as the standard asks; one that is
/// sent twice is an error.
pub(crate) struct Form<T>(pub(crate) Result<T, Refusal>);

impl<T: DeserializeOwned + Send> Extract for Form<T> {
    async fn extract(request: &mut Request) -> Result<Self> {
        let is_form = request.header("content-type").is_some_and(|value| {
            let essence = value.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        });
        if !is_form {
            let refusal = "the body must be sent as application/x-www-form-urlencoded";
            return Ok(Self(Err(Refusal::request(refusal))));
        }
        let Body(bytes) = Body::extract(request).await?;
        let refusal = |_| Refusal::request("a field of the form is sent twice or does not read");
        Ok(Self(serde_urlencoded::from_bytes(&bytes).map_err(refusal)))
    }
}

/// A field that is there and short enough; an empty one counts as left out (RFC 6749, section 3.2).
///
/// # Errors
///
/// `invalid_request` for one that is too long.
pub(crate) fn field(value: Option<&str>, bytes_max: usize) -> Result<Option<&str>, Refusal> {
    let value = value.filter(|value| !value.is_empty());
    if value.is_some_and(|value| value.len() > bytes_max || value.contains(char::is_control)) {
        return Err(Refusal::request(
            "a field of the form is too long or does not read",
        ));
    }
    Ok(value)
}

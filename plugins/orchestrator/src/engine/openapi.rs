//! OpenAPI: from an operation and its parameters to a request.

use serde_json::Value;

use super::{
    error::Error,
    need::{HttpCall, OpenApiCall},
};

/// The request of an operation, by its document (OpenAPI 3 or Swagger 2).
///
/// # Errors
///
/// [`Error::configuration`] when the document has no such operation or a parameter is missing.
pub fn resolve(_document: &Value, call: &OpenApiCall) -> Result<HttpCall, Error> {
    Err(Error::configuration(format!(
        "no operation {}",
        call.operation
    )))
}

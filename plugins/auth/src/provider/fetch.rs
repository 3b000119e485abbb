//! Calls of other places: five seconds, 256 KiB, no redirects, through the host's guarded client.

use std::time::Duration;

use nself_plugin_api::{
    capability::http::HttpRequest, http::header::CACHE_CONTROL, jiff::SignedDuration, prelude::*,
    serde_json,
};
use serde::de::DeserializeOwned;

use super::{Provider, failed};
use crate::Auth;

const TIMEOUT: Duration = Duration::from_secs(5);
const BYTES_MAX: usize = 256 * 1024;

/// What was fetched, and how long it may be kept.
pub(super) struct Fetched<T> {
    pub(super) value: T,
    pub(super) max_age: Option<SignedDuration>,
}

/// Reads a document, as the bearer of an access token or as anybody.
pub(super) async fn get<T: DeserializeOwned>(
    cx: &Cx<Auth>,
    provider: &Provider,
    url: &str,
    token: Option<&str>,
) -> Result<Fetched<T>> {
    let mut request = cx.http().get(url).header("accept", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", &format!("Bearer {token}"));
    }
    exchange(provider, request).await
}

/// Posts a form.
pub(super) async fn post<T: DeserializeOwned>(
    cx: &Cx<Auth>,
    provider: &Provider,
    url: &str,
    form: &[(&str, &str)],
    authorization: Option<&str>,
) -> Result<T> {
    let mut request = cx
        .http()
        .request("POST", url)
        .header("accept", "application/json")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(urlencoded(form)?);
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    Ok(exchange(provider, request).await?.value)
}

async fn exchange<T: DeserializeOwned>(
    provider: &Provider,
    request: HttpRequest<'_>,
) -> Result<Fetched<T>> {
    let unreachable = |error: Error| {
        failed(
            provider,
            format_args!("{error} {}", error.cause().unwrap_or("")),
        )
    };
    let answer = request.timeout(TIMEOUT).send().await.map_err(unreachable)?;
    if answer.status() != 200 {
        // A redirect is no answer: what it leads to was not in the configuration.
        return Err(failed(
            provider,
            format_args!("it answered with the status {}", answer.status()),
        ));
    }
    let max_age = answer.headers().get(CACHE_CONTROL);
    let max_age = max_age.and_then(|value| max_age_of(value.to_str().ok()?));
    let body = answer.bytes(BYTES_MAX).await.map_err(unreachable)?;
    // The parser's own words repeat what it read, which may be a token.
    let value = serde_json::from_slice(&body).map_err(|error| {
        failed(
            provider,
            format_args!("its answer does not read as JSON ({:?})", error.classify()),
        )
    })?;
    Ok(Fetched { value, max_age })
}

/// `max-age` of a Cache-Control header (RFC 9111, section 5.2.2.1).
fn max_age_of(header: &str) -> Option<SignedDuration> {
    let directive = header
        .split(',')
        .find_map(|directive| directive.trim().strip_prefix("max-age="))?;
    directive.parse().ok().map(SignedDuration::from_secs)
}

/// A form, or a query string.
pub(crate) fn urlencoded(pairs: &[(&str, &str)]) -> Result<String> {
    serde_urlencoded::to_string(pairs).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_an_answer_is_read() {
        let seconds = |header| max_age_of(header).map(|age| age.as_secs());
        assert_eq!(seconds("public, max-age=300, must-revalidate"), Some(300));
        assert_eq!(seconds("max-age=-5"), Some(-5));
        assert_eq!(seconds("no-store"), None);
        assert_eq!(seconds("max-age=soon"), None);
    }
}

//! The port without TLS beside those that speak it: whoever comes there is sent on to where they are, and an authority that is about to
//! certify this host is answered.
//!
//! Where to is what the operator has said, and never what the caller has: a `host` header may name anything.

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, header};
use tracing::info;
use url::Url;

use super::{Body, Challenges, Door, Problem, RequestId, headers};

/// An address that is none to come to by TLS.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is no address such as https://home.example: a scheme and a name, perhaps a port, and nothing behind them"
)]
pub struct OriginError(String);

/// Scheme, name and port of an address that has nothing else.
///
/// # Errors
///
/// [`OriginError`] repeats it.
pub fn origin(text: &str) -> Result<String, OriginError> {
    let is_bare = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    };
    let url = text.parse::<Url>().ok().filter(is_bare);
    let url = url.ok_or_else(|| OriginError(text.to_owned()))?;
    Ok(url.origin().ascii_serialization())
}

/// What such a port answers.
#[derive(Debug)]
pub struct Redirect {
    /// Scheme, name and port.
    origin: String,
    challenges: Arc<Challenges>,
}

impl Redirect {
    /// Sends callers on to `origin`, but for those who ask what an authority has been promised.
    pub fn new(origin: String, challenges: Arc<Challenges>) -> Arc<Self> {
        Arc::new(Self { origin, challenges })
    }

    pub(super) fn answer<B>(&self, door: &Door, request: &Request<B>) -> Response<Body> {
        let (what, mut response) = match self.challenges.answer(request.uri().path()) {
            Some(answer) => ("challenge", answer),
            None => ("redirect", self.send_on(request)),
        };
        let request_id = RequestId::new();
        headers::secure(response.headers_mut(), &request_id, None);
        info!(
            target: "nself::access",
            %request_id,
            method = %request.method(),
            route = what,
            status = response.status().as_u16(),
            peer = %door.peer.ip(),
            "request"
        );
        response
    }

    /// The same address behind the other scheme. 308 keeps method and body, so that what was meant to happen does.
    fn send_on<B>(&self, request: &Request<B>) -> Response<Body> {
        let rest = request.uri().path_and_query().map(PathAndQuery::as_str);
        // `*` and the name of a CONNECT would become part of the other host's name.
        let rest = rest.filter(|rest| rest.starts_with('/'));
        let target = rest.map(|rest| HeaderValue::from_str(&format!("{}{rest}", self.origin)));
        let Some(Ok(target)) = target else {
            let message = "this port only sends on to another one: ask that";
            return Problem::bad_request("HTTPS_REQUIRED", message).into_response();
        };
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        response.headers_mut().insert(header::LOCATION, target);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_nothing_behind_it() {
        for (text, expected) in [
            ("https://home.example", Some("https://home.example")),
            ("https://Home.Example:443/", Some("https://home.example")),
            (
                "https://home.example:8443",
                Some("https://home.example:8443"),
            ),
            ("http://192.168.1.10:3000", Some("http://192.168.1.10:3000")),
            ("https://[2001:db8::1]", Some("https://[2001:db8::1]")),
            ("https://home.example/app", None),
            ("https://home.example/?x", None),
            ("https://home.example/#x", None),
            ("https://me@home.example", None),
            ("https://me:it@home.example", None),
            ("ftp://home.example", None),
            ("home.example", None),
            ("https://", None),
            ("", None),
        ] {
            assert_eq!(origin(text).ok().as_deref(), expected, "{text}");
        }
    }
}

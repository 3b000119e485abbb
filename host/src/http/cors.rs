//! Cross-origin calls: which web pages may read the answers.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::Body;

const ALLOW_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, x-api-key, x-request-id, idempotency-key, last-event-id, traceparent, tracestate",
);
const EXPOSE_HEADERS: HeaderValue =
    HeaderValue::from_static("x-request-id, retry-after, ratelimit, ratelimit-policy");
const MAX_AGE_SECONDS: HeaderValue = HeaderValue::from_static("600");

/// Which origins may call. The default lets none.
#[derive(Debug, Clone, Default)]
pub struct Cors {
    origins: Vec<HeaderValue>,
    any: bool,
    credentials: bool,
}

/// Why a CORS setting is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CorsError {
    /// Not an origin.
    #[error(
        "{origin:?} is not an origin: write scheme, host and port, such as https://app.example.org, or *"
    )]
    Origin {
        /// What was configured.
        origin: String,
    },
    /// Every page could act for whoever is signed in.
    #[error("cors origin * cannot go with credentials: list the origins that may send them")]
    AnyWithCredentials,
}

impl Cors {
    /// Lets these origins call; `*` lets all, but never with credentials.
    ///
    /// # Errors
    ///
    /// [`CorsError`] names the setting.
    pub fn new(origins: &[String], credentials: bool) -> Result<Self, CorsError> {
        let any = origins.iter().any(|origin| origin == "*");
        if any && credentials {
            return Err(CorsError::AnyWithCredentials);
        }
        let parse = |origin: &String| {
            let error = || CorsError::Origin {
                origin: origin.clone(),
            };
            let (scheme, rest) = origin.split_once("://").ok_or_else(error)?;
            let plain = !scheme.is_empty()
                && !rest.is_empty()
                && !rest.contains(['/', '?', '#', '@', ' ', '*']);
            plain
                .then(|| HeaderValue::from_str(&origin.to_ascii_lowercase()).ok())
                .flatten()
                .ok_or_else(error)
        };
        let origins = origins
            .iter()
            .filter(|origin| *origin != "*")
            .map(parse)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            origins,
            any,
            credentials,
        })
    }

    /// The origin to name in the answer, when there is one and it may call.
    fn admits<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        (self.any || self.origins.contains(origin)).then_some(origin)
    }

    fn is_off(&self) -> bool {
        !self.any && self.origins.is_empty()
    }

    /// Answers a preflight for a path that has these methods; `None` when it is an ordinary `OPTIONS`.
    pub(super) fn preflight(
        &self,
        method: &Method,
        headers: &HeaderMap,
        allow: &HeaderValue,
    ) -> Option<Response<Body>> {
        if *method != Method::OPTIONS || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        self.admits(headers)?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let answer = response.headers_mut();
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, allow.clone());
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOW_HEADERS);
        answer.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS);
        Some(response)
    }

    /// Marks any answer for the page that asked.
    pub(super) fn mark(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        if self.is_off() {
            return;
        }
        if !self.any {
            // Also without an origin: a cache must not hand the answer for one page to another.
            answer.append(VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = origin else { return };
        let named = if self.any {
            HeaderValue::from_static("*")
        } else {
            origin.clone()
        };
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, named);
        answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSE_HEADERS);
        if self.credentials {
            answer.insert(
                ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
        }
    }

    /// The origin of a request, if it may call: kept over the handler, which takes the headers.
    pub(super) fn origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.is_off() {
            None
        } else {
            self.admits(headers).cloned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_taken_literally() {
        for bad in [
            "example.org",
            "https://",
            "https://a/",
            "https://a/path",
            "https://*.a",
            "https://u@a",
        ] {
            assert!(Cors::new(&[bad.to_owned()], false).is_err(), "{bad}");
        }
        assert_eq!(
            Cors::new(&["*".to_owned()], true).expect_err("unsafe"),
            CorsError::AnyWithCredentials
        );
    }

    #[test]
    fn a_foreign_origin_is_not_named() {
        let cors = Cors::new(&["https://app.example.org".to_owned()], true).expect("an origin");
        let mut headers = HeaderMap::new();
        headers.insert(
            ORIGIN,
            HeaderValue::from_static("https://app.example.org.evil.example"),
        );
        assert_eq!(cors.origin(&headers), None);
        headers.insert(ORIGIN, HeaderValue::from_static("null"));
        assert_eq!(cors.origin(&headers), None);
    }
}

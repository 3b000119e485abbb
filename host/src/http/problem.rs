//! The one shape of every error answer: `{"error": "...", "code": "UPPER_SNAKE", "details": {...}}`.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Body;

/// An error answer that is not sent yet.
#[derive(Debug)]
pub struct Problem {
    /// Status of the answer.
    pub status: StatusCode,
    /// Stable, for programs.
    pub code: &'static str,
    /// One sentence for people: what is wrong and what to do.
    pub message: Cow<'static, str>,
    /// Facts that go with the code.
    pub details: Map<String, Value>,
    /// Headers that the status asks for. Boxed: a problem travels as an `Err` through every step.
    headers: Option<Box<HeaderMap>>,
}

#[derive(Serialize)]
struct Document<'a> {
    error: &'a str,
    code: &'a str,
    details: &'a Map<String, Value>,
}

impl Problem {
    /// A problem without details.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            details: Map::new(),
            headers: None,
        }
    }

    /// The request cannot be understood: 400.
    pub fn bad_request(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// No credentials, or none that hold: 401. `error` is a word of RFC 6750, empty when there were none.
    pub fn unauthenticated(
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
        error: &'static str,
    ) -> Self {
        let challenge = match error {
            "" => "Bearer",
            "invalid_request" => "Bearer error=\"invalid_request\"",
            _ => "Bearer error=\"invalid_token\"",
        };
        let problem = Self::new(StatusCode::UNAUTHORIZED, code, message);
        problem.header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }

    /// Known and not allowed: 403.
    pub fn forbidden() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "FORBIDDEN",
            "your role does not allow this",
        )
    }

    /// Nothing is here: 404.
    pub fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "NOT_FOUND",
            "nothing answers at this address: check the path",
        )
    }

    /// Something is here, but not for this method: 405.
    pub fn method_not_allowed(allow: HeaderValue) -> Self {
        let message = "this address does not answer to this method: see the allow header";
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "METHOD_NOT_ALLOWED",
            message,
        )
        .header(ALLOW, allow)
    }

    /// The body is larger than the route takes: 413.
    pub fn body_too_large(bytes_max: u64) -> Self {
        let message = "the request body is larger than this route takes";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", message)
            .detail("bytes_max", bytes_max)
    }

    /// Not now: 503 with the pause after which to try again.
    pub fn unavailable(
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
        retry_after: Duration,
    ) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message).retry_after(retry_after)
    }

    /// The handler panicked or answered nonsense: 500; the log has the cause.
    pub fn internal() -> Self {
        let message =
            "the request failed inside; tell the operator the x-request-id of this answer";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", message)
    }

    /// The handler did not answer in time: 504.
    pub fn timeout(limit: Duration) -> Self {
        let message = "the request took longer than this route may: try again";
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        Self::new(StatusCode::GATEWAY_TIMEOUT, "TIMEOUT", message).detail("limit_ms", limit_ms)
    }

    /// The body stopped coming: 408.
    pub fn body_timeout() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "BODY_TIMEOUT",
            "the request body stopped coming: send it again",
        )
    }

    /// Adds a fact.
    #[must_use]
    pub fn detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.get_or_insert_default().insert(name, value);
        self
    }

    /// Adds `Retry-After`, in whole seconds and at least one.
    #[must_use]
    pub fn retry_after(self, pause: Duration) -> Self {
        let seconds = pause.as_secs() + u64::from(pause.subsec_nanos() > 0);
        self.header(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// The answer.
    pub fn into_response(self) -> Response<Body> {
        let document = Document {
            error: &self.message,
            code: self.code,
            details: &self.details,
        };
        let json =
            serde_json::to_vec(&document).expect("strings and JSON values can be written as JSON");
        let mut response = Response::new(Body::from(Bytes::from(json)));
        *response.status_mut() = self.status;
        if let Some(headers) = self.headers {
            *response.headers_mut() = *headers;
        }
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

//! What an authority that is about to certify this host finds at its port 80 (RFC 8555, 8.3).

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

use bytes::Bytes;
use http::{HeaderValue, Response, header};

use super::Body;

/// Where it looks.
const PLACE: &str = "/.well-known/acme-challenge/";

/// The answers that it was promised, by their token. There are some for the moments in which it asks.
#[derive(Debug, Default)]
pub struct Challenges(RwLock<BTreeMap<String, String>>);

impl Challenges {
    /// Puts the answer to `token` there. Neither is a secret.
    pub fn put(&self, token: &str, answer: &str) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(token.to_owned(), answer.to_owned());
    }

    /// Takes all away.
    pub fn clear(&self) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.clear();
    }

    /// The answer at this path, if it was promised one.
    pub(super) fn answer(&self, path: &str) -> Option<Response<Body>> {
        let token = path.strip_prefix(PLACE)?;
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let answer = Bytes::from(all.get(token)?.clone());
        let mut response = Response::new(Body::from(answer));
        let kind = HeaderValue::from_static("application/octet-stream");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        Some(response)
    }
}

//! The head of a request as a plugin asks for it.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use http::request::Parts;
use nself_plugin_api::abi::request::{Principal as Crossing, RequestProvider};
use uuid::Uuid;

use crate::{
    http::{RequestId, TraceContext},
    identity::Principal,
};

/// Everything is kept as HTTP has it; texts that HTTP does not have are made when first asked for.
pub(super) struct Head {
    parts: Parts,
    params: Vec<(Arc<str>, String)>,
    principal: Option<Arc<Principal>>,
    scopes: OnceLock<String>,
    request_id: RequestId,
    request_id_text: OnceLock<String>,
    trace: TraceContext,
    traceparent: OnceLock<String>,
    peer: SocketAddr,
    peer_text: OnceLock<String>,
}

impl Head {
    pub(super) fn new(
        parts: Parts,
        params: Vec<(Arc<str>, String)>,
        principal: Option<Arc<Principal>>,
        request_id: &RequestId,
        trace: &TraceContext,
        peer: SocketAddr,
    ) -> Self {
        Self {
            parts,
            params,
            principal,
            scopes: OnceLock::new(),
            request_id: request_id.clone(),
            request_id_text: OnceLock::new(),
            trace: *trace,
            traceparent: OnceLock::new(),
            peer,
            peer_text: OnceLock::new(),
        }
    }
}

fn bytes(id: Option<Uuid>) -> [u8; 16] {
    id.unwrap_or_default().into_bytes()
}

impl RequestProvider for Head {
    fn method(&self) -> &str {
        self.parts.method.as_str()
    }

    fn path(&self) -> &str {
        self.parts.uri.path()
    }

    fn query(&self) -> Option<&str> {
        self.parts.uri.query()
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.parts
            .headers
            .get(name)
            .map(http::HeaderValue::as_bytes)
    }

    fn header_at(&self, index: usize) -> Option<(&str, &[u8])> {
        let (name, value) = self.parts.headers.iter().nth(index)?;
        Some((name.as_str(), value.as_bytes()))
    }

    fn param(&self, index: usize) -> Option<(&str, &str)> {
        self.params
            .get(index)
            .map(|(name, value)| (&**name, value.as_str()))
    }

    fn principal(&self) -> Option<Crossing<'_>> {
        let principal = self.principal.as_ref()?;
        let scopes = self.scopes.get_or_init(|| principal.scopes.join(" "));
        Some(Crossing {
            kind: principal.kind.number(),
            role: principal.role_number(),
            aal: principal.aal.into(),
            elevated: principal.elevated.into(),
            expires_at: principal.expires_at_seconds(),
            user_id: bytes(principal.user_id),
            session_id: bytes(principal.session_id),
            family_id: bytes(principal.family_id),
            member_id: bytes(principal.member_id),
            device_id: bytes(principal.device_id),
            subject: (&*principal.subject).into(),
            scopes: scopes.as_str().into(),
            ..Crossing::default()
        })
    }

    fn peer(&self) -> &str {
        self.peer_text.get_or_init(|| self.peer.to_string())
    }

    fn request_id(&self) -> &str {
        self.request_id_text
            .get_or_init(|| self.request_id.to_string())
    }

    fn traceparent(&self) -> &str {
        self.traceparent.get_or_init(|| self.trace.to_string())
    }
}

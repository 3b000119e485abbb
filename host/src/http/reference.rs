//! The reference page: reads `/openapi.json` and shows it. Three files of this host, no request to anybody else.

use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_SECURITY_POLICY;

use super::HostRoute;
use super::health::{host_route, text};
use crate::plugin::manifest::Access;

/// Nothing inline, nothing from elsewhere.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const FILES: [(&str, &str, &str); 3] = [
    (
        "/reference",
        "text/html; charset=utf-8",
        include_str!("reference/reference.html"),
    ),
    (
        "/reference.css",
        "text/css; charset=utf-8",
        include_str!("reference/reference.css"),
    ),
    (
        "/reference.js",
        "text/javascript; charset=utf-8",
        include_str!("reference/reference.js"),
    ),
];

/// `/reference` and what it needs, on the gateway only.
pub fn reference_routes(access: &Access) -> Vec<HostRoute> {
    let route = |(path, kind, content): (&'static str, &'static str, &'static str)| {
        host_route(
            path,
            "The reference page",
            access.clone(),
            false,
            move |_| {
                let mut response = text(kind, Bytes::from_static(content.as_bytes()));
                response
                    .headers_mut()
                    .insert(CONTENT_SECURITY_POLICY, POLICY);
                response
            },
        )
    };
    FILES.map(route).into()
}

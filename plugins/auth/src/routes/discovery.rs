//! `/.well-known`: what verifiers and clients read before anything else.

use nself_plugin_api::{
    http::{HeaderValue, StatusCode, header::CACHE_CONTROL},
    prelude::*,
    serde_json::json,
};

use crate::{Auth, keys::MAX_AGE};

/// The key set. The `max-age` is what makes Hasura ask again: without one it never does, with zero it asks each second.
pub(crate) async fn jwks(cx: Cx<Auth>) -> Result<Response> {
    let jwks = cx.plugin().keys.ring().jwks_text.to_string();
    public(jwks, "application/jwk-set+json")
}

/// OpenID Connect Discovery 1.0, section 3, which is also RFC 8414, section 2.
pub(crate) async fn metadata(cx: Cx<Auth>) -> Result<Response> {
    let config = &cx.plugin().config;
    let root = config.public_url.trim_end_matches('/');
    let metadata = json!({
        "issuer": config.public_url,
        "jwks_uri": format!("{root}/.well-known/jwks.json"),
        "token_endpoint": format!("{root}/oauth/token"),
        "device_authorization_endpoint": format!("{root}/oauth/device_authorization"),
        "grant_types_supported": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [cx.plugin().keys.ring().active().algorithm],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint": format!("{root}/oauth/revoke"),
        "revocation_endpoint_auth_methods_supported": ["none"],
        "introspection_endpoint": format!("{root}/auth/token/introspect"),
        // A service's access token (RFC 6750), which it gets at /auth/service-token.
        "introspection_endpoint_auth_methods_supported": ["Bearer"],
    });
    public(metadata.to_string(), "application/json")
}

fn public(body: String, content_type: &'static str) -> Result<Response> {
    let age = HeaderValue::try_from(format!("public, max-age={}", MAX_AGE.as_secs()));
    Ok(Response::new(StatusCode::OK, body)
        .content_type(content_type)
        .header(CACHE_CONTROL, age.map_err(Error::internal)?))
}

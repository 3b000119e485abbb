//! Fuzz targets: what authenticators and OpenID providers send, and accounts that come from elsewhere.

#[macro_use]
#[path = "../../../fuzz/targets.rs"]
mod targets;

targets! {
    account_import: crate::import::fuzzing::account_import,
    openid_metadata: crate::provider::fuzzing::openid_metadata,
    webauthn: crate::webauthn::fuzzing::webauthn,
}

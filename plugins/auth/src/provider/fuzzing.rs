//! A fuzz target: what a provider publishes about itself.

use nself_plugin_api::serde_json;

use super::directory::{Metadata, check};

/// Nothing that is taken leads to where somebody on the way can read.
pub(crate) fn openid_metadata(data: &[u8]) {
    let Ok(metadata) = serde_json::from_slice::<Metadata>(data) else {
        return;
    };
    if check(&metadata, "https://example.org").is_err() {
        return;
    }
    let needed = [&metadata.authorization_endpoint, &metadata.token_endpoint];
    for address in needed.into_iter().chain(&metadata.userinfo_endpoint) {
        assert!(address.starts_with("https://"), "{address:?}");
        assert!(address.bytes().all(|byte| byte.is_ascii_graphic()));
    }
}

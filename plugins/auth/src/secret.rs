//! Random secrets that somebody hands back later: what is stored of one is a MAC, and the MAC is how it is found again.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nself_plugin_api::prelude::*;

use crate::{Auth, mac::Purpose};

/// A new secret: as it is handed out, and as it is stored.
pub(crate) struct Secret {
    pub(crate) text: String,
    pub(crate) mac: Vec<u8>,
}

/// Random bytes as base64url.
pub(crate) fn text(cx: &Cx<Auth>, bytes: u32) -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(cx.crypto().random(bytes)?))
}

/// A secret that is nothing but random bytes.
pub(crate) fn make(cx: &Cx<Auth>, purpose: Purpose, bytes: u32) -> Result<Secret> {
    let text = text(cx, bytes)?;
    let mac = mac(cx, purpose, &text);
    Ok(Secret { text, mac })
}

/// What is stored of a secret that is made now.
pub(crate) fn mac(cx: &Cx<Auth>, purpose: Purpose, text: &str) -> Vec<u8> {
    let macs = &cx.plugin().keys.macs;
    let mac = macs.make(macs.newest(), purpose, text.as_bytes());
    mac.expect("the newest key is there").to_vec()
}

/// Whatever may be stored of a secret that somebody hands back: it may be as old as the oldest key.
pub(crate) fn macs(cx: &Cx<Auth>, purpose: Purpose, text: &str) -> Vec<Vec<u8>> {
    cx.plugin().keys.macs.all(purpose, text.as_bytes())
}

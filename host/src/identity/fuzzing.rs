//! A fuzz target: access tokens.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};

use super::{KeySet, Kind, Verifier, VerifierSettings};

const HEADER: &[u8] = br#"{"alg":"EdDSA","typ":"JWT","kid":"1"}"#;

static ISSUER: LazyLock<(Ed25519KeyPair, Verifier)> = LazyLock::new(|| {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed");
    let x = BASE64.encode(key.public_key());
    let keys = vec![KeySet {
        jwks: format!(
            r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"1","use":"sig","x":"{x}"}}]}}"#
        ),
        issuer: "i".to_owned(),
        audiences: vec!["a".to_owned()],
    }];
    let settings = VerifierSettings {
        keys,
        clock: std::sync::Arc::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000)),
        ..VerifierSettings::default()
    };
    let verifier = Verifier::new(settings).expect("a key");
    (key, verifier)
});

/// The first byte says what the rest is: claims or a header, which the issuer signs, or a token. Whatever is accepted has the
/// issuer's signature.
pub(crate) fn jwt(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    match kind {
        b'c' => check(&signed(HEADER, rest)),
        b'h' => {
            let claims = br#"{"iss":"i","aud":"a","sub":"s","exp":2000}"#;
            check(&signed(rest, claims));
        }
        _ => {
            if let Ok(token) = str::from_utf8(data) {
                check(token);
            }
        }
    }
}

fn signed(header: &[u8], claims: &[u8]) -> String {
    let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
    let signature = ISSUER.0.sign(message.as_bytes());
    format!("{message}.{}", BASE64.encode(signature))
}

fn check(token: &str) {
    let Ok(principal) = ISSUER.1.verify(token) else {
        return;
    };
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let signature = BASE64.decode(signature).expect("a signature in base64");
    UnparsedPublicKey::new(&ED25519, ISSUER.0.public_key())
        .verify(message.as_bytes(), &signature)
        .expect("the issuer's signature");
    assert!(principal.expires_at.is_some());
    assert!(principal.scopes.iter().all(|scope| &**scope != "*"));
    assert_ne!(principal.kind, Kind::Operator);
    assert_eq!(principal.user_id.is_some(), principal.kind == Kind::User);
    assert!(!principal.elevated || principal.user_id.is_some());
}

//! A fuzz target: what an authenticator made, behind what a browser says.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::{
    CREDENTIAL_ID_BYTES_MAX, RegistrationResponse, RelyingParty,
    authenticator_data::AuthenticatorData, json::AttestationResponse, register,
};

const CLIENT_DATA: &[u8] = br#"{"type":"webauthn.create","challenge":"Y2hhbGxlbmdl","origin":"https://home.example","crossOrigin":false}"#;

/// The first byte says what the rest is: the authenticator's data, the browser's, or the attestation with the former in it.
/// Every signature is right, so that all that is left to refuse something by is what it says.
pub(crate) fn webauthn(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    match kind {
        b'd' => authenticator(rest),
        b'c' => registration(rest, b"\xa0"),
        _ => registration(CLIENT_DATA, rest),
    }
}

fn authenticator(data: &[u8]) {
    let Ok(read) = AuthenticatorData::read(data) else {
        return;
    };
    if let Some(new) = read.credential {
        assert!((1..=CREDENTIAL_ID_BYTES_MAX).contains(&new.id.len()));
        assert!(super::ALGORITHMS.contains(&new.key.algorithm));
    }
}

fn registration(client_data: &[u8], attestation: &[u8]) {
    let party = RelyingParty {
        id: "home.example".to_owned(),
        id_hash: Sha256::digest("home.example").into(),
        origins: vec!["https://home.example".to_owned()],
    };
    let id = URL_SAFE_NO_PAD.encode(b"credential");
    let response = RegistrationResponse {
        id: id.clone(),
        raw_id: id,
        kind: "public-key".to_owned(),
        response: AttestationResponse {
            client_data_json: URL_SAFE_NO_PAD.encode(client_data),
            attestation_object: URL_SAFE_NO_PAD.encode(attestation),
            transports: Vec::new(),
        },
    };
    if let Ok(registered) = register(&party, b"challenge", &response, &|_, _, _| true) {
        assert_eq!(registered.credential_id, b"credential");
    }
}

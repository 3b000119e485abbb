//! The crypto capability, as plugins call it; signatures are checked by another implementation.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use futures_util::{FutureExt as _, future::join_all};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    jwk::{Jwk, ThumbprintHash},
};
use nself::{
    capability::{
        Grant,
        config::SecretSource,
        crypto::{self, CryptoService, HashSettings},
    },
    plugin::manifest::Requires,
};
use nself_plugin_api::abi::{
    bytes::{Bytes, Slice},
    capability::crypto::Crypto,
    error::Error,
};
use rcgen::PublicKeyData as _;
use serde_json::{Value, json};

/// The algorithms, by the names that a plugin uses.
const ALGORITHMS: [(&str, Algorithm); 3] = [
    ("ES256", Algorithm::ES256),
    ("EdDSA", Algorithm::EdDSA),
    ("RS256", Algorithm::RS256),
];

fn service(hashing: HashSettings) -> Arc<CryptoService> {
    let secrets: SecretSource = Arc::new(|name| {
        Ok(match name {
            "WEBHOOK_SECRET" => Some(b"Jefe".to_vec()),
            "EMPTY_SECRET" => Some(Vec::new()),
            "ES256_KEY" => Some(imported(&rcgen::PKCS_ECDSA_P256_SHA256).0.into_bytes()),
            "EdDSA_KEY" => Some(imported(&rcgen::PKCS_ED25519).0.into_bytes()),
            "RS256_KEY" => Some(imported(&rcgen::PKCS_RSA_SHA256).0.into_bytes()),
            "P384_KEY" => Some(imported(&rcgen::PKCS_ECDSA_P384_SHA384).0.into_bytes()),
            "OLD_KEY" => Some(pem("EC PRIVATE KEY", &[0; 3]).into_bytes()),
            "ENCRYPTED_KEY" => Some(pem("ENCRYPTED PRIVATE KEY", &[0; 3]).into_bytes()),
            "BROKEN_KEY" => Some(pem("PRIVATE KEY", &[0; 3]).into_bytes()),
            _ => None,
        })
    });
    Arc::new(CryptoService::new(&[7; 32], secrets, hashing).unwrap())
}

/// The handle that the plugin `plugin` holds.
fn plugin(service: &Arc<CryptoService>, plugin: &str) -> Crypto {
    let secrets = [
        "WEBHOOK_SECRET",
        "EMPTY_SECRET",
        "UNSET_SECRET",
        "ES256_KEY",
        "EdDSA_KEY",
        "RS256_KEY",
        "P384_KEY",
        "OLD_KEY",
        "ENCRYPTED_KEY",
        "BROKEN_KEY",
    ]
    .map(str::to_owned)
    .to_vec();
    let requires = Arc::new(Requires {
        secrets,
        ..Requires::default()
    });
    let grant = Grant {
        plugin: plugin.into(),
        version: "1.0.0".into(),
        requires,
        destinations: Arc::default(),
    };
    Crypto::new(Arc::new(crypto::Crypto::new(service.clone(), grant)))
}

/// A block of PEM (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// A key that somebody else has made, the same at each call: private as PEM, public as SPKI in PEM.
fn imported(algorithm: &'static rcgen::SignatureAlgorithm) -> (String, String) {
    static MADE: Mutex<Vec<(&rcgen::SignatureAlgorithm, String, String)>> = Mutex::new(Vec::new());
    let mut made = MADE.lock().unwrap();
    if let Some((_, private, public)) = made.iter().find(|(of, ..)| *of == algorithm) {
        return (private.clone(), public.clone());
    }
    let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
    let private = pem("PRIVATE KEY", &pair.serialize_der());
    let public = pem("PUBLIC KEY", &pair.subject_public_key_info());
    made.push((algorithm, private.clone(), public.clone()));
    (private, public)
}

fn notes() -> Crypto {
    plugin(&service(HashSettings::default()), "notes")
}

fn slice(bytes: &[u8]) -> Slice<'_, u8> {
    Slice::new(bytes)
}

fn bytes(text: &str) -> Bytes {
    text.as_bytes().into()
}

#[track_caller]
fn assert_code<T>(result: Result<T, Error>, code: &str) -> Error {
    let error = result.err().unwrap_or_else(|| panic!("expected {code}"));
    assert_eq!(error.code.to_text(), code, "{}", error.cause.to_text());
    error
}

/// Public JWK and sealed key.
async fn generate(crypto: &Crypto, algorithm: &str) -> (Value, String) {
    let pair = crypto.generate_key(algorithm.into()).await.unwrap();
    let pair: Value = serde_json::from_slice(pair.as_slice()).unwrap();
    (
        pair["jwk"].clone(),
        pair["sealed"].as_str().unwrap().to_owned(),
    )
}

fn sign(crypto: &Crypto, sealed: &str, data: &[u8]) -> Result<Bytes, Error> {
    crypto
        .sign(slice(sealed.as_bytes()), slice(data))
        .into_result()
}

fn sign_with_secret(
    crypto: &Crypto,
    secret: &str,
    algorithm: &str,
    data: &[u8],
) -> Result<Bytes, Error> {
    crypto
        .sign_with_secret(secret.into(), algorithm.into(), slice(data))
        .into_result()
}

#[test]
fn a_key_of_somebody_else_signs_what_another_implementation_accepts() {
    let notes = notes();
    for (name, algorithm, kind) in [
        ("ES256", Algorithm::ES256, &rcgen::PKCS_ECDSA_P256_SHA256),
        ("EdDSA", Algorithm::EdDSA, &rcgen::PKCS_ED25519),
        ("RS256", Algorithm::RS256, &rcgen::PKCS_RSA_SHA256),
    ] {
        let public = imported(kind).1;
        let public = match algorithm {
            Algorithm::ES256 => DecodingKey::from_ec_pem(public.as_bytes()),
            Algorithm::EdDSA => DecodingKey::from_ed_pem(public.as_bytes()),
            _ => DecodingKey::from_rsa_pem(public.as_bytes()),
        };
        let public = public.unwrap();
        // The second time the pair is open already.
        for data in [&b"head.claims"[..], b"other.claims"] {
            let signature = sign_with_secret(&notes, &format!("{name}_KEY"), name, data).unwrap();
            let signature = URL_SAFE_NO_PAD.encode(signature.as_slice());
            let is_its = jsonwebtoken::crypto::verify(&signature, data, &public, algorithm);
            assert!(is_its.unwrap(), "{name}");
        }
    }
}

#[test]
fn what_cannot_sign_is_told_apart_and_never_shown() {
    let notes = notes();
    for (secret, algorithm, code, word) in [
        ("MASTER_KEY", "ES256", "SECRET_NOT_GRANTED", "MASTER_KEY"),
        ("UNSET_SECRET", "ES256", "SECRET_MISSING", "not set"),
        ("ES256_KEY", "HS256", "ALGORITHM_UNKNOWN", "HS256"),
        ("WEBHOOK_SECRET", "ES256", "KEY_INVALID", "PKCS #8"),
        ("BROKEN_KEY", "ES256", "KEY_INVALID", "neither"),
        ("OLD_KEY", "ES256", "KEY_INVALID", "older form"),
        ("ENCRYPTED_KEY", "ES256", "KEY_INVALID", "encrypted"),
        ("P384_KEY", "ES256", "KEY_INVALID", "neither P-256"),
        ("ES256_KEY", "RS256", "KEY_ALGORITHM", "ES256"),
        ("RS256_KEY", "EdDSA", "KEY_ALGORITHM", "RS256"),
        ("EdDSA_KEY", "ES256", "KEY_ALGORITHM", "EdDSA"),
    ] {
        let error = assert_code(sign_with_secret(&notes, secret, algorithm, b"data"), code);
        let cause = error.cause.to_text();
        assert!(cause.contains(word), "{secret}: {cause}");
        assert!(
            !cause.contains("Jefe") && !cause.contains("AAAA"),
            "{cause}"
        );
    }
}

#[test]
fn sealed_data_opens_for_its_plugin_and_context_only() {
    let service = service(HashSettings::default());
    let (notes, mail) = (plugin(&service, "notes"), plugin(&service, "mail"));
    let sealed = notes
        .seal(slice(b"a secret"), slice(b"row 7"))
        .into_result()
        .unwrap();
    let opened = notes
        .open(slice(sealed.as_slice()), slice(b"row 7"))
        .into_result()
        .unwrap();
    assert_eq!(opened.as_slice(), b"a secret");

    let mut failures = Vec::new();
    for (crypto, sealed, context) in [
        (&notes, sealed.as_slice(), &b"row 8"[..]),
        (&mail, sealed.as_slice(), b"row 7"),
        (&notes, &sealed.as_slice()[1..], b"row 7"),
        (&notes, b"", b"row 7"),
    ] {
        let error = assert_code(
            crypto.open(slice(sealed), slice(context)).into_result(),
            "SEAL_BROKEN",
        );
        failures.push((error.status, error.message.to_text(), error.cause.to_text()));
    }
    failures.dedup();
    assert_eq!(failures.len(), 1, "every failure looks the same");
}

#[test]
fn random_bytes_are_as_many_as_asked_for_and_never_the_same() {
    let notes = notes();
    assert_ne!(notes.random(32).as_slice(), notes.random(32).as_slice());
    assert_eq!(notes.random(1024 * 1024).as_slice().len(), 1024 * 1024);
    assert!(notes.random(0).as_slice().is_empty());
    assert!(
        notes.random(u32::MAX).as_slice().is_empty(),
        "over the limit there are none"
    );
}

#[test]
fn an_hmac_needs_a_secret_that_is_granted_and_set() {
    let notes = notes();
    let hmac = |secret: &str| {
        notes
            .hmac(secret.into(), slice(b"what do ya want for nothing?"))
            .into_result()
    };
    // RFC 4231 section 4.3.
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    let expected: Vec<u8> = (0..64)
        .step_by(2)
        .map(|at| u8::from_str_radix(&expected[at..at + 2], 16).unwrap())
        .collect();
    assert_eq!(hmac("WEBHOOK_SECRET").unwrap().as_slice(), expected);
    assert_code(hmac("MASTER_KEY"), "SECRET_NOT_GRANTED");
    assert_code(hmac("UNSET_SECRET"), "SECRET_MISSING");
    assert_code(hmac("EMPTY_SECRET"), "SECRET_MISSING");
}

#[tokio::test]
async fn a_token_signed_by_the_host_is_accepted_by_another_implementation() {
    let notes = notes();
    for (name, algorithm) in ALGORITHMS {
        let (jwk, sealed) = generate(&notes, name).await;
        assert_eq!(
            (jwk["alg"].as_str(), jwk["use"].as_str()),
            (Some(name), Some("sig"))
        );
        let public: Jwk = serde_json::from_value(jwk.clone()).unwrap();
        assert_eq!(
            jwk["kid"],
            public.thumbprint(ThumbprintHash::SHA256).unwrap(),
            "{name}"
        );

        let [header, claims] = [
            json!({"alg": name, "typ": "JWT"}),
            json!({"sub": "1", "exp": 4_000_000_000_u32}),
        ]
        .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        for _ in 0..2 {
            let signature = sign(&notes, &sealed, signed.as_bytes()).unwrap();
            let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_slice()));
            let key = DecodingKey::from_jwk(&public).unwrap();
            let claims = jsonwebtoken::decode::<Value>(&token, &key, &Validation::new(algorithm))
                .unwrap()
                .claims;
            assert_eq!(claims["sub"], "1", "{name}");
        }
    }
}

#[tokio::test]
async fn a_signature_is_verified_for_its_data_and_key_only() {
    let notes = notes();
    for (name, _) in ALGORITHMS {
        let ((jwk, sealed), (other, _)) =
            (generate(&notes, name).await, generate(&notes, name).await);
        let signature = sign(&notes, &sealed, b"data").unwrap();
        let verify = |jwk: &Value, data: &[u8], signature: &[u8]| {
            notes.verify(
                jwk.to_string().as_str().into(),
                slice(data),
                slice(signature),
            )
        };
        assert_eq!(verify(&jwk, b"data", signature.as_slice()), 1, "{name}");
        assert_eq!(verify(&jwk, b"Data", signature.as_slice()), 0, "{name}");
        assert_eq!(verify(&other, b"data", signature.as_slice()), 0, "{name}");
        assert_eq!(
            verify(&jwk, b"data", &signature.as_slice()[1..]),
            0,
            "{name}"
        );
        assert_eq!(
            verify(&json!(null), b"data", signature.as_slice()),
            0,
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_private_key_serves_its_plugin_and_cannot_be_read() {
    let service = service(HashSettings::default());
    let (notes, mail) = (plugin(&service, "notes"), plugin(&service, "mail"));
    let (jwk, sealed) = generate(&notes, "ES256").await;
    sign(&notes, &sealed, b"data").unwrap();
    assert_code(sign(&mail, &sealed, b"data"), "SEAL_BROKEN");
    assert_code(sign(&notes, "not base64url!", b"data"), "SEAL_BROKEN");
    assert_code(sign(&notes, &sealed[4..], b"data"), "SEAL_BROKEN");
    assert_code(sign(&notes, "", b"data"), "SEAL_BROKEN");
    assert!(jwk.get("d").is_none());

    let raw = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
    for context in [&b"key"[..], b""] {
        assert_code(
            notes.open(slice(&raw), slice(context)).into_result(),
            "SEAL_BROKEN",
        );
    }
    let forged = notes
        .seal(slice(b"\x01a key of the plugin's own"), slice(b"key"))
        .into_result()
        .unwrap();
    assert_code(
        sign(&notes, &URL_SAFE_NO_PAD.encode(forged.as_slice()), b"data"),
        "SEAL_BROKEN",
    );
}

#[tokio::test]
async fn a_key_outlives_the_process_under_the_same_master_key() {
    let (_, sealed) = generate(&notes(), "EdDSA").await;
    sign(&notes(), &sealed, b"data").expect("the next process derives the same key");
    let secrets: SecretSource = Arc::new(|_| Ok(None));
    let foreign = Arc::new(CryptoService::new(&[8; 32], secrets, HashSettings::default()).unwrap());
    assert_code(
        sign(&plugin(&foreign, "notes"), &sealed, b"data"),
        "SEAL_BROKEN",
    );
}

#[tokio::test]
async fn an_unknown_algorithm_is_refused() {
    for name in ["", "none", "HS256", "es256"] {
        assert_code(notes().generate_key(name.into()).await, "ALGORITHM_UNKNOWN");
    }
}

#[tokio::test]
async fn a_password_is_hashed_and_checked() {
    let notes = notes();
    let hash = notes
        .hash_password(bytes("tr0ub4dor&3"))
        .await
        .unwrap()
        .to_text();
    assert!(
        hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
        "{hash}"
    );
    assert_eq!(
        notes
            .verify_password(bytes("tr0ub4dor&3"), bytes(&hash))
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        notes
            .verify_password(bytes("tr0ub4dor&4"), bytes(&hash))
            .await
            .unwrap(),
        0
    );

    // Of the reference implementation's tests: right, and weaker than a new one.
    let weak =
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    assert_eq!(
        notes
            .verify_password(bytes("password"), bytes(weak))
            .await
            .unwrap(),
        2
    );
    assert_code(
        notes
            .verify_password(bytes("password"), bytes("plain"))
            .await,
        "HASH_INVALID",
    );
    assert_code(
        notes
            .verify_password(bytes("password"), Bytes::from(&b"\xff\xfe"[..]))
            .await,
        "HASH_INVALID",
    );
    let error = assert_code(
        notes.hash_password(bytes(&"p".repeat(1025))).await,
        "PASSWORD_TOO_LONG",
    );
    assert_eq!(error.status, 400);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_recovers() {
    let hashing = HashSettings {
        threads: NonZeroUsize::MIN,
        queue_max: 2,
    };
    let notes = plugin(&service(hashing), "notes");
    let results = join_all((0..10).map(|_| notes.hash_password(bytes("password")))).await;
    let (hashed, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert!(
        hashed.len() >= 2 && refused.len() >= 7,
        "the thread has one and the queue two: {}",
        hashed.len()
    );
    for result in refused {
        let error = assert_code(result, "HASH_QUEUE_FULL");
        assert_eq!(error.status, 503);
        assert!(error.retry_after_ms > 0);
    }
    notes
        .hash_password(bytes("password"))
        .await
        .expect("there is room again");
}

#[tokio::test]
async fn callers_that_left_do_not_block_the_queue() {
    let hashing = HashSettings {
        threads: NonZeroUsize::MIN,
        queue_max: 9,
    };
    let notes = plugin(&service(hashing), "notes");
    for _ in 0..8 {
        assert!(
            notes
                .hash_password(bytes("password"))
                .now_or_never()
                .is_none(),
            "dropped while it waits"
        );
    }
    notes
        .hash_password(bytes("password"))
        .await
        .expect("the queue is worked off");
}

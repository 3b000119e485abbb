//! The two ceremonies, and each of their checks failed one by one.

#[path = "../../tests/it/authenticator.rs"]
mod authenticator;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ciborium::Value as Cbor;
use nself_plugin_api::serde_json::{self, Value, json};
use uuid::Uuid;

use self::authenticator::{Creation, Key, Passkey, Usage, cbor, encoded, flag};
use super::{Assertion, Known, Refusal, Registered, RelyingParty, assert, register};
use crate::Config;

const ORIGIN: &str = "https://home.example";
const CHALLENGE: &[u8] = b"thirty-two bytes of a challenge.";
const USER: Uuid = Uuid::from_u128(7);

fn party() -> RelyingParty {
    let config = Config {
        public_url: ORIGIN.into(),
        ..Config::default()
    };
    RelyingParty::of(&config).expect("a relying party")
}

fn options() -> Value {
    json!({
        "challenge": encoded(CHALLENGE), "rp": {"id": "home.example"},
        "user": {"id": encoded(USER.as_bytes())},
    })
}

/// As the host does it.
fn verify(jwk: &Value, data: &[u8], signature: &[u8]) -> bool {
    let number = |name: &str| {
        let text = jwk[name].as_str().expect("a number of the key");
        URL_SAFE_NO_PAD.decode(text).expect("base64url")
    };
    match jwk["alg"].as_str() {
        Some("ES256") => {
            let point = [vec![4], number("x"), number("y")].concat();
            let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
            key.verify(data, signature).is_ok()
        }
        Some("EdDSA") => {
            let key = UnparsedPublicKey::new(&ED25519, number("x"));
            key.verify(data, signature).is_ok()
        }
        _ => false,
    }
}

fn registered(response: Value) -> Result<Registered, Refusal> {
    let response = serde_json::from_value(response).expect("the shape is right");
    register(&party(), CHALLENGE, &response, &verify)
}

#[track_caller]
fn check_registration(change: impl FnOnce(&mut Creation), expected: Refusal) {
    let mut creation = Creation::new(&options(), ORIGIN, &Key::es256());
    change(&mut creation);
    assert_eq!(registered(creation.response()).err(), Some(expected));
}

/// A registered passkey, on both sides.
fn known(key: Key, flags: u8) -> (Passkey, Known) {
    let mut creation = Creation::new(&options(), ORIGIN, &key);
    creation.flags |= flags;
    let registered = registered(creation.response()).expect("it is accepted");
    let known = Known {
        user_id: USER,
        public_key: registered.public_key,
        sign_count: registered.sign_count,
        is_backup_eligible: registered.is_backup_eligible,
    };
    (creation.passkey(key), known)
}

fn used(response: Value, known: &Known) -> Result<Assertion, Refusal> {
    let response = serde_json::from_value(response).expect("the shape is right");
    assert(&party(), CHALLENGE, &response, known, &verify)
}

#[track_caller]
fn check_use(change: impl FnOnce(&mut Usage<'_>), expected: Refusal) {
    let (mut passkey, known) = known(Key::es256(), 0);
    let mut usage = Usage::new(&options(), ORIGIN, &mut passkey);
    change(&mut usage);
    assert_eq!(used(usage.response(), &known), Err(expected));
}

#[test]
fn a_credential_of_each_algorithm_is_registered_and_used() {
    for key in [Key::es256(), Key::eddsa()] {
        let (mut passkey, known) = known(key, 0);
        let usage = Usage::new(&options(), ORIGIN, &mut passkey);
        let expected = Assertion {
            sign_count: 2,
            is_backed_up: false,
            is_counter_behind: false,
        };
        assert_eq!(used(usage.response(), &known), Ok(expected));
    }
}

#[test]
fn a_key_of_windows_hello_is_registered() {
    let creation = Creation::new(&options(), ORIGIN, &Key::rs256());
    let registered = registered(creation.response()).expect("it is accepted");
    assert_eq!(registered.public_key["alg"], "RS256");
}

#[test]
fn extensions_are_passed_over() {
    let mut creation = Creation::new(&options(), ORIGIN, &Key::es256());
    creation.flags |= flag::EXTENSIONS;
    creation.tail = cbor(&Cbor::Map(vec![("credProtect".into(), 2.into())]));
    assert!(registered(creation.response()).is_ok());
    creation.tail = cbor(&Cbor::from(2));
    let refused = registered(creation.response()).err();
    assert_eq!(refused, Some(Refusal::AuthenticatorData));
}

#[test]
fn step_7_another_ceremony() {
    check_registration(
        |creation| creation.client.0["type"] = json!("webauthn.get"),
        Refusal::WrongType,
    );
    check_use(
        |usage| usage.client.0["type"] = json!("webauthn.create"),
        Refusal::WrongType,
    );
}

#[test]
fn step_8_another_challenge() {
    for other in ["", "AAAA", "no base64url!"] {
        check_registration(
            |creation| creation.client.0["challenge"] = json!(other),
            Refusal::WrongChallenge,
        );
        check_use(
            |usage| usage.client.0["challenge"] = json!(other),
            Refusal::WrongChallenge,
        );
    }
}

#[test]
fn step_9_another_origin() {
    for other in [
        "https://home.example.evil",
        "https://evil.example",
        "http://home.example",
        "https://home.example:8443",
        "https://home.example/",
        "https://sub.home.example",
        "HTTPS://home.example",
        "null",
    ] {
        check_registration(
            |creation| creation.client.0["origin"] = json!(other),
            Refusal::WrongOrigin,
        );
        check_use(
            |usage| usage.client.0["origin"] = json!(other),
            Refusal::WrongOrigin,
        );
    }
}

#[test]
fn steps_10_and_11_an_embedded_page() {
    check_registration(
        |creation| creation.client.0["crossOrigin"] = json!(true),
        Refusal::CrossOrigin,
    );
    check_use(
        |usage| usage.client.0["crossOrigin"] = json!(true),
        Refusal::CrossOrigin,
    );
    check_use(
        |usage| usage.client.0["topOrigin"] = json!("https://evil.example"),
        Refusal::CrossOrigin,
    );
}

#[test]
fn steps_5_and_6_client_data_that_does_not_read() {
    let mut response = Creation::new(&options(), ORIGIN, &Key::es256()).response();
    for bad in ["", "{", "[]", "{\"type\":\"webauthn.create\"}", "\u{feff}x"] {
        response["response"]["clientDataJSON"] = json!(encoded(bad.as_bytes()));
        assert_eq!(
            registered(response.clone()).err(),
            Some(Refusal::ClientData),
            "{bad}"
        );
    }
    response["response"]["clientDataJSON"] = json!("no base64url!");
    assert_eq!(registered(response).err(), Some(Refusal::Base64));
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_json_but_of_what_was_signed() {
    let creation = Creation::new(&options(), ORIGIN, &Key::es256());
    let mut response = creation.response();
    let text = format!("\u{feff}{}", creation.client.0);
    response["response"]["clientDataJSON"] = json!(encoded(text.as_bytes()));
    assert!(registered(response).is_ok());
}

#[test]
fn step_14_another_relying_party() {
    check_registration(
        |creation| creation.rp_id = "evil.example".into(),
        Refusal::WrongRelyingParty,
    );
    check_use(
        |usage| usage.rp_id = "evil.example".into(),
        Refusal::WrongRelyingParty,
    );
}

#[test]
fn step_15_nobody_present() {
    check_registration(
        |creation| creation.flags &= !flag::PRESENT,
        Refusal::NotPresent,
    );
    check_use(|usage| usage.flags &= !flag::PRESENT, Refusal::NotPresent);
}

#[test]
fn step_16_nobody_verified() {
    check_registration(
        |creation| creation.flags &= !flag::VERIFIED,
        Refusal::NotVerified,
    );
    check_use(|usage| usage.flags &= !flag::VERIFIED, Refusal::NotVerified);
}

#[test]
fn step_17_backed_up_though_it_cannot_be() {
    check_registration(
        |creation| creation.flags |= flag::BACKED_UP,
        Refusal::Backup,
    );
    check_use(|usage| usage.flags |= flag::BACKED_UP, Refusal::Backup);
}

#[test]
fn what_was_said_of_backups_stays_so() {
    check_use(
        |usage| usage.flags |= flag::BACKUP_ELIGIBLE,
        Refusal::Backup,
    );
    let (mut passkey, known) = known(Key::es256(), flag::BACKUP_ELIGIBLE);
    let mut usage = Usage::new(&options(), ORIGIN, &mut passkey);
    assert_eq!(used(usage.response(), &known), Err(Refusal::Backup));
    usage.flags |= flag::BACKUP_ELIGIBLE | flag::BACKED_UP;
    let assertion = used(usage.response(), &known).expect("it was copied meanwhile");
    assert!(assertion.is_backed_up);
}

#[test]
fn step_20_an_algorithm_that_was_not_offered() {
    for algorithm in [-35, -47, -65535, 7] {
        check_registration(
            |creation| creation.cose[1].1 = algorithm.into(),
            Refusal::Algorithm,
        );
    }
}

#[test]
fn a_public_key_that_is_none() {
    type Change = fn(&mut Creation);
    let changes: [Change; 9] = [
        |creation| creation.cose[0].1 = 1.into(), // a type that is not the algorithm's
        |creation| creation.cose[2].1 = 2.into(), // another curve
        |creation| creation.cose[3].1 = vec![1; 31].into(), // a short number
        |creation| creation.cose[3].1 = vec![1; 33].into(), // a long one
        |creation| creation.cose[4].1 = true.into(), // a compressed point
        |creation| _ = creation.cose.pop(),       // no second number
        |creation| _ = creation.cose.remove(0),   // no type
        |creation| creation.cose.push((-2, vec![1; 32].into())), // a number twice
        |creation| creation.cose[1].1 = "ES256".into(), // an algorithm that is no number
    ];
    for change in changes {
        check_registration(change, Refusal::PublicKey);
    }
    let rsa: [(i64, Cbor); 4] = [
        (1, 3.into()),
        (3, (-257).into()),
        (-1, vec![1; 128].into()),
        (-2, vec![1, 0, 1].into()),
    ];
    check_registration(|creation| creation.cose = rsa.to_vec(), Refusal::PublicKey);
}

#[test]
fn authenticator_data_that_is_cut_off_or_goes_on() {
    check_registration(
        |creation| creation.tail = vec![0],
        Refusal::AuthenticatorData,
    );
    check_use(|usage| usage.tail = vec![0], Refusal::AuthenticatorData);
    check_use(|usage| usage.cut = 1, Refusal::AuthenticatorData);
    check_registration(|creation| creation.cut = 1, Refusal::Cbor);
    check_registration(|creation| creation.cut = 78, Refusal::AuthenticatorData);
    check_registration(|creation| creation.flags |= flag::EXTENSIONS, Refusal::Cbor);
}

#[test]
fn an_attestation_object_that_is_cut_off_or_goes_on() {
    check_registration(|creation| creation.object_tail = vec![0xf6], Refusal::Cbor);
    let mut response = Creation::new(&options(), ORIGIN, &Key::es256()).response();
    let object = response["response"]["attestationObject"]
        .as_str()
        .expect("it is there");
    let object = URL_SAFE_NO_PAD.decode(object).expect("base64url");
    for end in [0, 1, 10, object.len() - 1] {
        response["response"]["attestationObject"] = json!(encoded(&object[..end]));
        assert_eq!(
            registered(response.clone()).err(),
            Some(Refusal::Cbor),
            "{end}"
        );
    }
    // Lists in lists: whoever reads them by recursion must stop somewhere.
    response["response"]["attestationObject"] = json!(encoded(&vec![0x81; 20_000]));
    assert_eq!(registered(response.clone()).err(), Some(Refusal::Cbor));
    // A text of four gigabytes, by its own account.
    let huge = [0x5a, 0xff, 0xff, 0xff, 0xff, 0x00];
    response["response"]["attestationObject"] = json!(encoded(&huge));
    assert_eq!(registered(response.clone()).err(), Some(Refusal::Cbor));
    response["response"]["attestationObject"] = json!(encoded(&cbor(&7.into())));
    assert_eq!(registered(response).err(), Some(Refusal::Attestation));
}

#[test]
fn no_credential_in_a_registration() {
    check_registration(
        |creation| creation.flags &= !flag::CREDENTIAL,
        Refusal::NoCredential,
    );
    check_registration(
        |creation| creation.kind = "password",
        Refusal::NotACredential,
    );
}

#[test]
fn the_steps_21_to_24_take_no_attestation_or_the_credentials_own() {
    check_registration(
        |creation| creation.format = "fido-u2f",
        Refusal::Attestation,
    );
    check_registration(
        |creation| creation.statement = vec![("alg".into(), (-7).into())],
        Refusal::Attestation,
    );
    let key = Key::es256();
    let mut creation = Creation::new(&options(), ORIGIN, &key);
    creation.format = "packed";
    let statement = |signature: Vec<u8>, algorithm: i64| {
        vec![
            ("alg".into(), algorithm.into()),
            ("sig".into(), signature.into()),
        ]
    };
    creation.statement = statement(key.sign(&creation.signed()), -7);
    assert!(registered(creation.response()).is_ok());
    creation.statement = statement(key.sign(&creation.signed()), -8);
    let refused = registered(creation.response()).err();
    assert_eq!(refused, Some(Refusal::Attestation));
    creation.statement = statement(Key::es256().sign(&creation.signed()), -7);
    let refused = registered(creation.response()).err();
    assert_eq!(refused, Some(Refusal::Signature));
    creation
        .statement
        .push(("x5c".into(), Cbor::Array(Vec::new())));
    let refused = registered(creation.response()).err();
    assert_eq!(refused, Some(Refusal::Attestation));
}

#[test]
fn step_25_an_id_that_is_too_long_or_another_than_the_named_one() {
    check_registration(
        |creation| creation.credential_id = vec![1; 1_024],
        Refusal::CredentialId,
    );
    check_registration(
        |creation| creation.credential_id = Vec::new(),
        Refusal::CredentialId,
    );
    check_registration(
        |creation| creation.named_id = Some(vec![1; 32]),
        Refusal::CredentialId,
    );
    let mut creation = Creation::new(&options(), ORIGIN, &Key::es256());
    creation.credential_id = vec![1; 1_023];
    assert!(registered(creation.response()).is_ok());
}

#[test]
fn a_handle_of_somebody_else_or_of_nobody() {
    let other = Uuid::from_u128(8);
    check_use(
        |usage| usage.user_handle = Some(other.as_bytes().to_vec()),
        Refusal::WrongUser,
    );
    check_use(|usage| usage.user_handle = None, Refusal::WrongUser);
}

#[test]
fn a_signature_of_another_key_or_of_other_data() {
    check_use(|usage| usage.is_forged = true, Refusal::Signature);
    let (mut passkey, _) = known(Key::es256(), 0);
    let (_, other) = known(Key::es256(), 0);
    let usage = Usage::new(&options(), ORIGIN, &mut passkey);
    assert_eq!(used(usage.response(), &other), Err(Refusal::Signature));
}

#[test]
fn a_counter_that_does_not_go_on_is_told() {
    for (stored, received, expected) in [
        (0, 0, false),
        (0, 1, false),
        (5, 6, false),
        (5, 5, true),
        (5, 4, true),
        (5, 0, true),
    ] {
        let (mut passkey, mut known) = known(Key::es256(), 0);
        known.sign_count = stored;
        let mut usage = Usage::new(&options(), ORIGIN, &mut passkey);
        usage.sign_count = received;
        let assertion = used(usage.response(), &known).expect("it is accepted");
        assert_eq!(assertion.is_counter_behind, expected, "{stored} {received}");
    }
}

//! An authenticator and the browser before it, in software: makes what a page sends, and lets a test change one thing.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RSA_PKCS1_SHA256,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ciborium::Value as Cbor;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Bits of the authenticator's flags.
pub(crate) mod flag {
    pub(crate) const PRESENT: u8 = 1;
    pub(crate) const VERIFIED: u8 = 4;
    pub(crate) const BACKUP_ELIGIBLE: u8 = 8;
    pub(crate) const BACKED_UP: u8 = 16;
    pub(crate) const CREDENTIAL: u8 = 64;
    pub(crate) const EXTENSIONS: u8 = 128;
}

pub(crate) fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn cbor(value: &Cbor) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("a vector takes everything");
    bytes
}

/// The private half of a credential.
pub(crate) enum Key {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(rsa::KeyPair),
}

impl Key {
    pub(crate) fn es256() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING);
        Self::Es256(pair.expect("a key is made"))
    }

    pub(crate) fn eddsa() -> Self {
        Self::EdDsa(Ed25519KeyPair::generate().expect("a key is made"))
    }

    pub(crate) fn rs256() -> Self {
        Self::Rs256(rsa::KeyPair::generate(rsa::KeySize::Rsa2048).expect("a key is made"))
    }

    /// The public half (RFC 9053).
    fn cose(&self) -> Vec<(i64, Cbor)> {
        match self {
            Self::Es256(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (point[1..33].to_vec(), point[33..65].to_vec());
                vec![
                    (1, 2.into()),
                    (3, (-7).into()),
                    (-1, 1.into()),
                    (-2, x.into()),
                    (-3, y.into()),
                ]
            }
            Self::EdDsa(pair) => {
                let x = pair.public_key().as_ref().to_vec();
                vec![
                    (1, 1.into()),
                    (3, (-8).into()),
                    (-1, 6.into()),
                    (-2, x.into()),
                ]
            }
            Self::Rs256(pair) => {
                // The head of a DER key of 2048 bits is always as long, and its exponent is 65537.
                let modulus = pair.public_key().as_ref()[9..265].to_vec();
                let exponent = vec![1, 0, 1];
                vec![
                    (1, 3.into()),
                    (3, (-257).into()),
                    (-1, modulus.into()),
                    (-2, exponent.into()),
                ]
            }
        }
    }

    pub(crate) fn sign(&self, data: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Es256(pair) => {
                let signature = pair.sign(&random, data).expect("a key signs");
                signature.as_ref().to_vec()
            }
            Self::EdDsa(pair) => pair.sign(data).as_ref().to_vec(),
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, data, &mut signature)
                    .expect("a key signs");
                signature
            }
        }
    }
}

/// A credential on the authenticator.
pub(crate) struct Passkey {
    pub(crate) key: Key,
    pub(crate) id: Vec<u8>,
    pub(crate) rp_id: String,
    pub(crate) user_handle: Vec<u8>,
    pub(crate) sign_count: u32,
}

/// What the browser says, part by part.
pub(crate) struct ClientData(pub(crate) Value);

impl ClientData {
    fn new(kind: &str, challenge: &Value, origin: &str) -> Self {
        Self(json!({
            "type": kind, "challenge": challenge, "origin": origin, "crossOrigin": false,
        }))
    }
}

/// A registration before it is sent.
pub(crate) struct Creation {
    pub(crate) client: ClientData,
    pub(crate) rp_id: String,
    pub(crate) flags: u8,
    pub(crate) sign_count: u32,
    pub(crate) credential_id: Vec<u8>,
    /// The id as the browser names it, where that differs.
    pub(crate) named_id: Option<Vec<u8>>,
    pub(crate) cose: Vec<(i64, Cbor)>,
    /// What follows the credential in the authenticator's data.
    pub(crate) tail: Vec<u8>,
    /// How many bytes of it are left out at its end.
    pub(crate) cut: usize,
    pub(crate) format: &'static str,
    pub(crate) statement: Vec<(Cbor, Cbor)>,
    /// What follows the attestation object.
    pub(crate) object_tail: Vec<u8>,
    pub(crate) kind: &'static str,
    user_handle: Vec<u8>,
}

impl Creation {
    /// As it should be, for options as the server gave them.
    pub(crate) fn new(options: &Value, origin: &str, key: &Key) -> Self {
        let user_handle = options["user"]["id"].as_str().expect("a user handle");
        let mut credential_id = vec![0; 32];
        aws_lc_rs::rand::fill(&mut credential_id).expect("there is randomness");
        Self {
            client: ClientData::new("webauthn.create", &options["challenge"], origin),
            rp_id: options["rp"]["id"].as_str().expect("a domain").to_owned(),
            flags: flag::PRESENT | flag::VERIFIED | flag::CREDENTIAL,
            sign_count: 1,
            credential_id,
            named_id: None,
            cose: key.cose(),
            tail: Vec::new(),
            cut: 0,
            format: "none",
            statement: Vec::new(),
            object_tail: Vec::new(),
            kind: "public-key",
            user_handle: URL_SAFE_NO_PAD.decode(user_handle).expect("base64url"),
        }
    }

    pub(crate) fn authenticator_data(&self) -> Vec<u8> {
        let mut data = Sha256::digest(self.rp_id.as_bytes()).to_vec();
        data.push(self.flags);
        data.extend(self.sign_count.to_be_bytes());
        if self.flags & flag::CREDENTIAL != 0 {
            data.extend([0; 16]);
            let length = u16::try_from(self.credential_id.len()).expect("an id is short");
            data.extend(length.to_be_bytes());
            data.extend(&self.credential_id);
            let cose = self
                .cose
                .iter()
                .map(|(key, value)| ((*key).into(), value.clone()));
            data.extend(cbor(&Cbor::Map(cose.collect())));
        }
        data.extend(&self.tail);
        data.truncate(data.len() - self.cut);
        data
    }

    /// What a packed attestation signs.
    pub(crate) fn signed(&self) -> Vec<u8> {
        let client_data = self.client.0.to_string();
        [
            self.authenticator_data(),
            Sha256::digest(client_data).to_vec(),
        ]
        .concat()
    }

    /// As the page sends it.
    pub(crate) fn response(&self) -> Value {
        let object = Cbor::Map(vec![
            ("fmt".into(), self.format.into()),
            ("attStmt".into(), Cbor::Map(self.statement.clone())),
            ("authData".into(), self.authenticator_data().into()),
        ]);
        let object = [cbor(&object), self.object_tail.clone()].concat();
        let id = encoded(self.named_id.as_deref().unwrap_or(&self.credential_id));
        json!({
            "id": id, "rawId": id, "type": self.kind, "authenticatorAttachment": "platform",
            "clientExtensionResults": {"credProps": {"rk": true}},
            "response": {
                "clientDataJSON": encoded(self.client.0.to_string().as_bytes()),
                "attestationObject": encoded(&object),
                "transports": ["internal", "hybrid"],
            },
        })
    }

    /// What the authenticator keeps.
    pub(crate) fn passkey(self, key: Key) -> Passkey {
        Passkey {
            key,
            id: self.credential_id,
            rp_id: self.rp_id,
            user_handle: self.user_handle,
            sign_count: self.sign_count,
        }
    }
}

/// A use of a passkey before it is sent.
pub(crate) struct Usage<'a> {
    pub(crate) client: ClientData,
    pub(crate) rp_id: String,
    pub(crate) flags: u8,
    pub(crate) sign_count: u32,
    pub(crate) tail: Vec<u8>,
    pub(crate) cut: usize,
    pub(crate) user_handle: Option<Vec<u8>>,
    pub(crate) id: Vec<u8>,
    /// Spoils the signature.
    pub(crate) is_forged: bool,
    key: &'a Key,
}

impl<'a> Usage<'a> {
    /// As it should be; the counter goes on.
    pub(crate) fn new(options: &Value, origin: &str, passkey: &'a mut Passkey) -> Self {
        passkey.sign_count += 1;
        Self {
            client: ClientData::new("webauthn.get", &options["challenge"], origin),
            rp_id: passkey.rp_id.clone(),
            flags: flag::PRESENT | flag::VERIFIED,
            sign_count: passkey.sign_count,
            tail: Vec::new(),
            cut: 0,
            user_handle: Some(passkey.user_handle.clone()),
            id: passkey.id.clone(),
            is_forged: false,
            key: &passkey.key,
        }
    }

    /// As the page sends it.
    pub(crate) fn response(&self) -> Value {
        let mut data = Sha256::digest(self.rp_id.as_bytes()).to_vec();
        data.push(self.flags);
        data.extend(self.sign_count.to_be_bytes());
        data.extend(&self.tail);
        data.truncate(data.len() - self.cut);
        let client_data = self.client.0.to_string();
        let signed = [data.clone(), Sha256::digest(&client_data).to_vec()].concat();
        let mut signature = self.key.sign(&signed);
        if self.is_forged {
            let last = signature.last_mut().expect("a signature has bytes");
            *last ^= 1;
        }
        let id = encoded(&self.id);
        json!({
            "id": id, "rawId": id, "type": "public-key", "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": encoded(client_data.as_bytes()),
                "authenticatorData": encoded(&data),
                "signature": encoded(&signature),
                "userHandle": self.user_handle.as_deref().map(encoded),
            },
        })
    }
}

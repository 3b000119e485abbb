//! Responses as browsers serialize them (section 5.1.8): `PublicKeyCredential.toJSON()`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nself_plugin_api::prelude::*;
use serde::Deserialize;

use super::{Refusal, client_data};

/// `RegistrationResponseJSON`.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RegistrationResponse {
    /// The credential's id.
    #[schema(max_length = 2000)]
    pub id: String,
    /// The same.
    #[schema(max_length = 2000)]
    pub raw_id: String,
    /// Always `public-key`.
    #[serde(rename = "type")]
    #[schema(max_length = 20)]
    pub kind: String,
    /// What the authenticator made.
    pub response: AttestationResponse,
}

/// `AuthenticatorAttestationResponseJSON`.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttestationResponse {
    /// What the browser says.
    #[serde(rename = "clientDataJSON")]
    #[schema(max_length = 10000)]
    pub client_data_json: String,
    /// What the authenticator says.
    #[schema(max_length = 50000)]
    pub attestation_object: String,
    /// How the authenticator is reached.
    #[serde(default)]
    pub transports: Vec<String>,
}

/// `AuthenticationResponseJSON`.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuthenticationResponse {
    /// The credential's id.
    #[schema(max_length = 2000)]
    pub id: String,
    /// The same.
    #[schema(max_length = 2000)]
    pub raw_id: String,
    /// Always `public-key`.
    #[serde(rename = "type")]
    #[schema(max_length = 20)]
    pub kind: String,
    /// What the authenticator signed.
    pub response: AssertionResponse,
}

/// `AuthenticatorAssertionResponseJSON`.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AssertionResponse {
    /// What the browser says.
    #[serde(rename = "clientDataJSON")]
    #[schema(max_length = 10000)]
    pub client_data_json: String,
    /// What the authenticator says.
    #[schema(max_length = 50000)]
    pub authenticator_data: String,
    /// Over both.
    #[schema(max_length = 5000)]
    pub signature: String,
    /// Whose credential it is.
    #[schema(max_length = 100)]
    pub user_handle: Option<String>,
}

pub(super) struct Registration {
    pub(super) id: Vec<u8>,
    pub(super) client_data: Vec<u8>,
    pub(super) attestation_object: Vec<u8>,
}

pub(super) struct Authentication {
    pub(super) client_data: Vec<u8>,
    pub(super) authenticator_data: Vec<u8>,
    pub(super) signature: Vec<u8>,
    pub(super) user_handle: Option<Vec<u8>>,
}

impl RegistrationResponse {
    pub(super) fn decode(&self) -> Result<Registration, Refusal> {
        Ok(Registration {
            id: credential_id(&self.kind, &self.id, &self.raw_id)?,
            client_data: decoded(&self.response.client_data_json)?,
            attestation_object: decoded(&self.response.attestation_object)?,
        })
    }

    /// The challenge that it answers, as it says itself.
    pub(crate) fn challenge(&self) -> Result<Vec<u8>, Refusal> {
        client_data::challenge(&decoded(&self.response.client_data_json)?)
    }

    /// Ways to the authenticator that have a name (section 5.8.4), and look like one.
    pub(crate) fn transports(&self) -> Vec<&str> {
        let is_name = |text: &&str| {
            (1..=20).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        };
        let transports = self.response.transports.iter().map(String::as_str);
        transports.filter(is_name).take(8).collect()
    }
}

impl AuthenticationResponse {
    /// Which credential was used.
    pub(crate) fn credential_id(&self) -> Result<Vec<u8>, Refusal> {
        credential_id(&self.kind, &self.id, &self.raw_id)
    }

    /// The challenge that it answers, as it says itself.
    pub(crate) fn challenge(&self) -> Result<Vec<u8>, Refusal> {
        client_data::challenge(&decoded(&self.response.client_data_json)?)
    }

    pub(super) fn decode(&self) -> Result<Authentication, Refusal> {
        let response = &self.response;
        Ok(Authentication {
            client_data: decoded(&response.client_data_json)?,
            authenticator_data: decoded(&response.authenticator_data)?,
            signature: decoded(&response.signature)?,
            user_handle: response.user_handle.as_deref().map(decoded).transpose()?,
        })
    }
}

fn credential_id(kind: &str, id: &str, raw_id: &str) -> Result<Vec<u8>, Refusal> {
    if kind != "public-key" || id != raw_id {
        return Err(Refusal::NotACredential);
    }
    decoded(id)
}

fn decoded(text: &str) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Refusal::Base64)
}

//! Routes, one file per resource: decode, call, answer.

pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod anonymous;
pub(crate) mod children;
pub(crate) mod devices;
pub(crate) mod discovery;
pub(crate) mod email;
pub(crate) mod families;
pub(crate) mod family_end;
pub(crate) mod grants;
pub(crate) mod hasura;
pub(crate) mod identities;
pub(crate) mod invitations;
pub(crate) mod me;
pub(crate) mod members;
pub(crate) mod mfa;
pub(crate) mod nhost;
pub(crate) mod operator;
pub(crate) mod pairing;
pub(crate) mod passkeys;
pub(crate) mod password;
pub(crate) mod passwordless;
pub(crate) mod providers;
pub(crate) mod revocation;
pub(crate) mod sessions;
pub(crate) mod sign_in;
pub(crate) mod sign_up;
pub(crate) mod tokens;

use nself_plugin_api::{
    http::{HeaderValue, StatusCode, header::CACHE_CONTROL},
    prelude::*,
    schema::Shape,
    serde_json::json,
};
use serde::{Deserialize, Serialize};

/// An answer that nobody on the way may keep (RFC 6749, section 5.1).
pub(crate) struct Private<R>(pub(crate) R);

impl<R: Respond> Respond for Private<R> {
    const SHAPE: Option<&'static Shape> = R::SHAPE;
    const KIND: &'static str = R::KIND;

    fn respond(self) -> Result<Response> {
        Ok(self
            .0
            .respond()?
            .header(CACHE_CONTROL, HeaderValue::from_static("no-store")))
    }
}

/// 202 with a status: what happens next happens in somebody's mailbox, or does not; the answer is the same.
pub(crate) struct Accepted(pub(crate) &'static str);

impl Respond for Accepted {
    fn respond(self) -> Result<Response> {
        let body = json!({"data": {"status": self.0}}).to_string();
        let answer = Response::new(StatusCode::ACCEPTED, body).content_type("application/json");
        Private(answer).respond()
    }
}

/// Says what became of it, where there is nothing else to say.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Done {
    /// What was done.
    pub status: &'static str,
}

pub(crate) const fn done(status: &'static str) -> Private<Data<Done>> {
    Private(Data(Done { status }))
}

/// The secret of a link that was mailed.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkToken {
    /// As it stands in the link.
    #[schema(max_length = 200)]
    pub token: String,
}

/// An address that something is to be mailed to.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mailbox {
    /// The address.
    #[schema(max_length = 320)]
    pub email: String,
}

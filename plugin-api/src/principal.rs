//! Who calls.

use serde::Deserialize;
use uuid::Uuid;

use crate::{
    abi::request::{self, kind},
    capability::tokens::Receipt,
    error::{Error, Result},
    manifest::Role,
};

/// What kind of caller it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A person.
    User,
    /// A paired machine.
    Device,
    /// A service with scopes.
    Service,
    /// An operator of the host.
    Operator,
}

impl Kind {
    /// A kind that this crate does not know must not pass for one that it does.
    fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            kind::USER => Self::User,
            kind::DEVICE => Self::Device,
            kind::SERVICE => Self::Service,
            kind::OPERATOR => Self::Operator,
            _ => return None,
        })
    }
}

/// A verified caller: the host has checked its credential and the route's access rule before the handler runs.
#[derive(Debug, Clone)]
pub struct Principal {
    /// What it is.
    pub kind: Kind,
    /// Subject as the credential names it.
    pub subject: String,
    /// The user, if it is one.
    pub user_id: Option<Uuid>,
    /// The session of the token.
    pub session_id: Option<Uuid>,
    /// The active family; a token carries at most one.
    pub family_id: Option<Uuid>,
    /// The membership in it.
    pub member_id: Option<Uuid>,
    /// The paired machine, if it is one; it has no user.
    pub device_id: Option<Uuid>,
    /// The role in it.
    pub role: Option<Role>,
    /// Authenticator assurance level, 1 to 3.
    pub aal: u32,
    /// Inside the step-up window.
    pub elevated: bool,
    /// When the credential ends, seconds since the epoch; 0 for never.
    pub expires_at: u64,
    /// Scopes of a service.
    pub scopes: Vec<String>,
}

impl Principal {
    /// The active family.
    ///
    /// # Errors
    ///
    /// 403 `FAMILY_REQUIRED` when the token has none.
    pub fn family(&self) -> Result<Uuid> {
        self.family_id.ok_or_else(|| {
            Error::forbidden(
                "FAMILY_REQUIRED",
                "this needs a token with an active family",
            )
        })
    }

    /// The user.
    ///
    /// # Errors
    ///
    /// 403 `USER_REQUIRED` for devices and services.
    pub fn user(&self) -> Result<Uuid> {
        self.user_id
            .ok_or_else(|| Error::forbidden("USER_REQUIRED", "this needs a user's token"))
    }

    /// The bearer of a token, as the host describes one outside of a request.
    pub(crate) fn described(json: &[u8]) -> Result<Self> {
        Ok(Told::read(json)?.0)
    }

    pub(crate) fn read(raw: &request::Principal<'_>) -> Option<Self> {
        let id = |bytes: [u8; 16]| Some(Uuid::from_bytes(bytes)).filter(|id| !id.is_nil());
        Some(Self {
            kind: Kind::from_number(raw.kind)?,
            subject: raw.subject.as_str().to_owned(),
            user_id: id(raw.user_id),
            session_id: id(raw.session_id),
            family_id: id(raw.family_id),
            member_id: id(raw.member_id),
            device_id: id(raw.device_id),
            role: Role::from_number(raw.role),
            aal: raw.aal,
            elevated: raw.elevated != 0,
            expires_at: raw.expires_at,
            scopes: raw
                .scopes
                .as_str()
                .split_ascii_whitespace()
                .map(str::to_owned)
                .collect(),
        })
    }
}

/// The bearer of a token as it crosses in JSON.
#[derive(Deserialize)]
pub(crate) struct Told {
    kind: u32,
    subject: String,
    user_id: Option<Uuid>,
    session_id: Option<Uuid>,
    family_id: Option<Uuid>,
    member_id: Option<Uuid>,
    device_id: Option<Uuid>,
    role: u32,
    aal: u32,
    elevated: bool,
    expires_at: u64,
    scopes: Vec<String>,
    /// Of the token; the identity provider is not told.
    #[serde(default)]
    key: u64,
    #[serde(default)]
    epoch: u32,
}

impl Told {
    /// Whose token it is, and what is kept in its place.
    pub(crate) fn read(json: &[u8]) -> Result<(Principal, Receipt)> {
        let told: Option<Self> = serde_json::from_slice(json).ok();
        told.and_then(Self::bearer).ok_or_else(|| {
            Error::new(500, "INTERNAL", "something went wrong on our side").with_cause(
                "the host describes the bearer of a token in words that are unknown here",
            )
        })
    }

    fn bearer(self) -> Option<(Principal, Receipt)> {
        let receipt = Receipt {
            key: self.key,
            session_id: self.session_id,
            epoch: self.epoch,
        };
        let principal = Principal {
            kind: Kind::from_number(self.kind)?,
            subject: self.subject,
            user_id: self.user_id,
            session_id: self.session_id,
            family_id: self.family_id,
            member_id: self.member_id,
            device_id: self.device_id,
            role: Role::from_number(self.role),
            aal: self.aal,
            elevated: self.elevated,
            expires_at: self.expires_at,
            scopes: self.scopes,
        };
        Some((principal, receipt))
    }
}

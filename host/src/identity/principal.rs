//! The caller as the host knows it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use nself_plugin_api::abi::request::kind;
use uuid::Uuid;

use crate::plugin::manifest::Role;

/// What kind of caller a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A person, by an access token.
    User,
    /// A paired machine, by an access token of its own.
    Device,
    /// Another program, by an API key or a service token.
    Service,
    /// Who runs this installation: an API key or the control socket, never a token.
    Operator,
}

impl Kind {
    /// The word for logs and for plugins.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Device => "device",
            Self::Service => "service",
            Self::Operator => "operator",
        }
    }

    /// The number at the boundary.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::User => kind::USER,
            Self::Device => kind::DEVICE,
            Self::Service => kind::SERVICE,
            Self::Operator => kind::OPERATOR,
        }
    }
}

/// An authenticated caller: at most one active family, and the role in that family only. A union of roles over
/// families would let the OWNER of one act as OWNER in another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// What kind of caller this is.
    pub kind: Kind,
    /// The token's subject, or the API key's name: stable, fit for logs and rate limits.
    pub subject: Arc<str>,
    /// The person; absent for devices, services and operators.
    pub user_id: Option<Uuid>,
    /// The session that the token belongs to; what a revocation names.
    pub session_id: Option<Uuid>,
    /// How often what the session may do had changed when the token was signed: older tokens can be refused.
    pub epoch: u32,
    /// The person's membership in the active family.
    pub member_id: Option<Uuid>,
    /// The active family.
    pub family_id: Option<Uuid>,
    /// The paired machine.
    pub device_id: Option<Uuid>,
    /// The role in the active family.
    pub role: Option<Role>,
    /// All families that the person belongs to: for "list my families", never for access to a family's rows.
    pub family_ids: Vec<Uuid>,
    /// What a service may do, by name; `*` is everything.
    pub scopes: Vec<Arc<str>>,
    /// Authenticator assurance level: 1, or 2 after a second factor.
    pub aal: u8,
    /// Proved itself again a moment ago (the issuer decides how long that lasts).
    pub elevated: bool,
    /// When this stops being true; absent for API keys.
    pub expires_at: Option<SystemTime>,
}

impl Principal {
    /// Whether a scope was granted.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes
            .iter()
            .any(|granted| &**granted == scope || &**granted == "*")
    }

    /// The role's number at the boundary, 0 outside a family.
    pub(crate) fn role_number(&self) -> u32 {
        match self.role {
            None => 0,
            Some(Role::Owner) => 1,
            Some(Role::Admin) => 2,
            Some(Role::AdultMember) => 3,
            Some(Role::YouthMember) => 4,
            Some(Role::ChildMember) => 5,
            Some(Role::Device) => 6,
        }
    }

    /// When the credential ends, in seconds since 1970; 0 for never.
    pub(crate) fn expires_at_seconds(&self) -> u64 {
        self.expires_at
            .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |since| since.as_secs())
    }
}

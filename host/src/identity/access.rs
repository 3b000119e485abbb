//! The one place where a route's access rule meets a caller.

use super::{Kind, Principal};
use crate::plugin::manifest::Access;
use crate::policy::{Policy, Roles};

/// What an access rule says about a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// May call.
    Allow,
    /// Has to say who it is first: 401.
    Unauthenticated,
    /// Is known and may not: 403.
    Forbidden,
}

/// An access rule, worked out when a plugin is loaded: on the way of a request a role is one bit, and nothing is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// Anybody.
    Public,
    /// Any authenticated principal.
    Authenticated,
    /// Members with one of these roles.
    Roles(Roles),
    /// Services with this scope.
    Service(String),
    /// Operators.
    Operator,
}

impl Gate {
    /// The gate for a rule. An action that the policy does not know lets nobody through; the loader has refused it before.
    pub fn new(access: &Access) -> Self {
        match access {
            Access::Public => Self::Public,
            Access::Authenticated => Self::Authenticated,
            Access::Roles(roles) => Self::Roles(roles.iter().copied().collect()),
            Access::Action(action) => {
                Self::Roles(Policy::embedded().action(action).unwrap_or_default())
            }
            Access::Service(scope) => Self::Service(scope.clone()),
            Access::Operator => Self::Operator,
        }
    }

    /// Decides whether `principal` may pass.
    ///
    /// Roles count only together with a family: a role without one is a token that says nothing. An operator is not
    /// a member of anybody's family, so role routes are closed to operators. What a service may do with some scope, an operator
    /// may: whoever has the operator's key could give a service that scope, and commands of plugins call such routes.
    pub fn admit(&self, principal: Option<&Principal>) -> Verdict {
        if *self == Self::Public {
            return Verdict::Allow;
        }
        let Some(principal) = principal else {
            return Verdict::Unauthenticated;
        };
        let allowed = match self {
            Self::Public | Self::Authenticated => true,
            Self::Roles(roles) => {
                matches!(principal.kind, Kind::User | Kind::Device)
                    && principal.family_id.is_some()
                    && principal.role.is_some_and(|role| roles.contain(role))
            }
            Self::Service(scope) => {
                principal.kind == Kind::Operator
                    || (principal.kind == Kind::Service && principal.has_scope(scope))
            }
            Self::Operator => principal.kind == Kind::Operator,
        };
        if allowed {
            Verdict::Allow
        } else {
            Verdict::Forbidden
        }
    }
}

/// Decides whether `principal` may call a route with this access rule.
pub fn check(access: &Access, principal: Option<&Principal>) -> Verdict {
    Gate::new(access).admit(principal)
}

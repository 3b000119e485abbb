//! The one place where a route's access rule meets a caller.

use super::{Kind, Principal};
use crate::plugin::manifest::Access;

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

/// Decides whether `principal` may call a route with this access rule.
///
/// Roles count only together with a family: a role without one is a token that says nothing. An operator is not
/// a member of anybody's family, so role routes are closed to operators. What a service may do with some scope, an operator
/// may: whoever has the operator's key could give a service that scope, and commands of plugins call such routes.
pub fn check(access: &Access, principal: Option<&Principal>) -> Verdict {
    if *access == Access::Public {
        return Verdict::Allow;
    }
    let Some(principal) = principal else {
        return Verdict::Unauthenticated;
    };
    let allowed = match access {
        Access::Public | Access::Authenticated => true,
        Access::Roles(roles) => {
            matches!(principal.kind, Kind::User | Kind::Device)
                && principal.family_id.is_some()
                && principal.role.is_some_and(|role| roles.contains(&role))
        }
        Access::Service(scope) => {
            principal.kind == Kind::Operator
                || (principal.kind == Kind::Service && principal.has_scope(scope))
        }
        Access::Operator => principal.kind == Kind::Operator,
    };
    if allowed {
        Verdict::Allow
    } else {
        Verdict::Forbidden
    }
}

//! `nself.policy/1`: what the policy says, for plugins that have to decide by a role which the token does not carry.

use std::sync::Arc;

use nself_plugin_api::abi::{
    bytes::Str,
    capability::policy::{Policy as Handle, PolicyProvider},
    error::Outcome,
};

use super::error::error;
use crate::policy::{Policy, Roles};

/// The same for every plugin: who may do what is no secret.
pub struct PolicyCapability;

impl PolicyCapability {
    /// The policy of this program.
    pub fn capability() -> Handle {
        Handle::new(Arc::new(Self))
    }
}

impl PolicyProvider for PolicyCapability {
    fn roles(&self, action: Str<'_>) -> Outcome<u32> {
        let (policy, action) = (Policy::embedded(), action.as_str());
        let roles = policy.action(action).map(Roles::numbers);
        roles
            .ok_or_else(|| {
                let near = policy.near(action).join(", ");
                error(
                    500,
                    "ACTION_UNKNOWN",
                    "the host's policy has no such action",
                    format!("{action}: it has {near}"),
                )
            })
            .into()
    }
}

#[cfg(test)]
mod tests {
    use nself_plugin_api::manifest::Role;

    use super::*;

    #[test]
    fn a_plugin_is_told_what_the_gate_of_a_route_lets_through() {
        let policy = PolicyCapability::capability();
        for (action, roles) in Policy::embedded().actions() {
            let told = policy.roles(action.into()).into_result();
            let told = told.unwrap_or_else(|_| panic!("{action} is known"));
            for (place, role) in Role::ALL.iter().enumerate() {
                let is_in = roles.names().any(|name| name == role.name());
                assert_eq!(told >> place & 1 == 1, is_in, "{action} {role:?}");
            }
            assert_eq!(told >> Role::ALL.len(), 0, "{action}: no other bits");
        }
        assert!(policy.roles("family.burn".into()).into_result().is_err());
    }
}

//! The host's policy, for what a plugin has to decide by itself.

use std::sync::Arc;

use super::granted;
use crate::{cx::Handles, error::Result, manifest::Role};

/// Who may do what in a family: the same matrix that guards routes ([`Route::action`](crate::route::Route::action)) and GraphQL.
///
/// A route's own access is about the active family of the caller's token. Where the family is another, such as one that the
/// path names, the plugin looks up the caller's role there and asks here what that role may do.
pub struct Policy<'a>(pub(crate) &'a Arc<Handles>);

impl Policy<'_> {
    /// The roles that may do `action`. It does not change while the host runs, so ask once, in
    /// [`create`](crate::Plugin::create): a plugin that asks for an action which this host does not know does not start then.
    ///
    /// # Errors
    ///
    /// `ACTION_UNKNOWN` when the policy has no such action.
    pub fn roles(&self, action: &str) -> Result<Roles> {
        let roles = granted!(self, policy, "nself.policy/1")?
            .roles(action.into())
            .into_result()?;
        Ok(Roles(roles))
    }
}

/// A set of roles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Roles(u32);

impl Roles {
    /// Whether `role` is one of them.
    pub fn contain(self, role: Role) -> bool {
        // The bits are in the order of the roles' numbers.
        let place = Role::ALL.iter().position(|one| *one == role);
        place.is_some_and(|place| self.0 >> place & 1 == 1)
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        let roles: Vec<Role> = roles.into_iter().collect();
        let places = Role::ALL.iter().enumerate();
        let bits = places.filter(|(_, role)| roles.contains(role));
        Self(bits.fold(0, |all, (place, _)| all | 1 << place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_roles_that_were_put_in() {
        let managers: Roles = Role::MANAGERS.iter().copied().collect();
        assert_eq!(managers, Roles(0b11));
        for role in Role::ALL {
            assert_eq!(managers.contain(*role), Role::MANAGERS.contains(role));
            assert!(!Roles::default().contain(*role));
        }
    }
}

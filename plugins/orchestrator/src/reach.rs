//! Whose things a caller reaches: an operator and a service with the scope all of them, a person those of the active family.

use nself_plugin_api::{
    Kind,
    prelude::{Principal, Role},
    uuid::Uuid,
};

/// What a caller may look at and steer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// What is anybody's.
    All,
    /// What is this family's.
    Family(Uuid),
}

impl Reach {
    /// That of operators, of services with `scope`, and of people whose role is one of `roles`. None for everybody else, who
    /// cannot tell what there is.
    pub(crate) fn of(who: &Principal, scope: &str, may: impl Fn(Role) -> bool) -> Option<Self> {
        match who.kind {
            Kind::Operator => Some(Self::All),
            Kind::Service => who
                .scopes
                .iter()
                .any(|one| one == scope)
                .then_some(Self::All),
            Kind::User => {
                let role = who.role.filter(|role| may(*role))?;
                debug_assert!(role != Role::Device, "a device is no person");
                who.family_id.map(Self::Family)
            }
            Kind::Device => None,
        }
    }

    /// The family that a statement is held to; none for all of them.
    pub(crate) fn family(self) -> Option<Uuid> {
        match self {
            Self::All => None,
            Self::Family(family) => Some(family),
        }
    }
}

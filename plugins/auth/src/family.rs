//! Families: their roles, and who may give, take and touch which.

use nself_plugin_api::{jiff::Timestamp, prelude::*};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{account, problem};

/// Most families of one person: as many as a token can list.
pub(crate) const FAMILIES_MAX: i64 = 64;

/// Most members of one family, those who left not counted.
pub(crate) const MEMBERS_MAX: i64 = 200;

/// A person's role in a family, the least first: the order of the variants is the order of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Schema)]
pub(crate) enum FamilyRole {
    #[serde(rename = "CHILD_MEMBER")]
    Child,
    #[serde(rename = "YOUTH_MEMBER")]
    Youth,
    #[serde(rename = "ADULT_MEMBER")]
    Adult,
    #[serde(rename = "ADMIN")]
    Admin,
    #[serde(rename = "OWNER")]
    Owner,
}

impl FamilyRole {
    pub(crate) const ALL: [Self; 5] = [
        Self::Child,
        Self::Youth,
        Self::Adult,
        Self::Admin,
        Self::Owner,
    ];

    /// As the database and tokens have it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Child => "CHILD_MEMBER",
            Self::Youth => "YOUTH_MEMBER",
            Self::Adult => "ADULT_MEMBER",
            Self::Admin => "ADMIN",
            Self::Owner => "OWNER",
        }
    }

    /// The role of that name.
    ///
    /// # Errors
    ///
    /// When the database has one that this plugin does not know: it must not pass for another.
    pub(crate) fn read(name: &str) -> Result<Self> {
        let role = Self::ALL.into_iter().find(|role| role.name() == name);
        role.ok_or_else(|| {
            Error::new(500, "INTERNAL", "something went wrong on our side")
                .with_cause(format!("a member has the unknown role {name}"))
        })
    }

    /// As the host knows it.
    pub(crate) const fn role(self) -> Role {
        match self {
            Self::Child => Role::ChildMember,
            Self::Youth => Role::YouthMember,
            Self::Adult => Role::AdultMember,
            Self::Admin => Role::Admin,
            Self::Owner => Role::Owner,
        }
    }

    /// Whether somebody with this role, who may do so at all, may give `other`, take it away, or do anything to a member who
    /// has it. Nobody reaches up to their own, except who owns the family.
    pub(crate) fn is_above(self, other: Self) -> bool {
        self == Self::Owner || other < self
    }
}

/// Where somebody stands in a family, as the database says in this transaction: a token may be minutes old.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) family_id: Uuid,
    pub(crate) family_name: String,
    pub(crate) member_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) display_name: String,
    pub(crate) role: FamilyRole,
    /// An account that a guardian made: it may not change by itself how it is reached.
    pub(crate) is_child_account: bool,
}

impl Standing {
    /// # Errors
    ///
    /// 403 when `role` is not below the caller's. What the caller may do at all is the policy's matter.
    pub(crate) fn over(&self, role: FamilyRole) -> Result<()> {
        if self.role.is_above(role) {
            Ok(())
        } else {
            Err(problem::role_too_low())
        }
    }
}

/// A family, as one of its members sees it.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Family {
    /// Stays for good.
    pub id: Uuid,
    /// As its members call it.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// The caller's membership.
    pub member_id: Uuid,
    /// The caller's role.
    pub role: FamilyRole,
    /// Whether the caller may act; who is suspended may only leave.
    pub status: Status,
}

/// Whether a member may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Active,
    Suspended,
}

impl Status {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }
}

/// A member of a family, as the others see them.
#[derive(Debug, Clone, Serialize, Schema)]
pub(crate) struct Member {
    /// The membership; the same again for who leaves and comes back.
    pub id: Uuid,
    /// The person.
    pub user_id: Uuid,
    /// As others see them.
    pub display_name: String,
    /// A picture.
    pub avatar_url: Option<String>,
    /// `human`, or `child` for an account that a guardian made.
    pub kind: String,
    /// Told to those who manage the family only.
    pub email: Option<String>,
    /// The role.
    pub role: FamilyRole,
    /// Whether they may act.
    pub status: Status,
    /// Who made the account of a child.
    pub guardian_id: Option<Uuid>,
    /// Since when.
    pub created_at: Timestamp,
}

impl Member {
    pub(crate) fn is_child_account(&self) -> bool {
        self.kind == "child"
    }

    /// Whether it counts as the owner that a family needs.
    pub(crate) fn is_acting_owner(&self) -> bool {
        self.role == FamilyRole::Owner && self.status == Status::Active
    }
}

/// A child's account that was taken out of its family, and has no other.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct RemovedChild {
    /// The membership; the same again when the child is taken back.
    pub id: Uuid,
    /// The child.
    pub user_id: Uuid,
    /// As others saw it.
    pub display_name: String,
    /// The role that it had, and will have.
    pub role: FamilyRole,
    /// Who made the account.
    pub guardian_id: Option<Uuid>,
    /// Since when it is out of the family.
    pub left_at: Timestamp,
}

/// A name of a family or a machine: one that can be read, and is not empty.
pub(crate) fn name(text: &str) -> Result<String> {
    let name = account::display_name(text).ok();
    name.filter(|name| !name.is_empty()).ok_or_else(|| {
        Error::invalid(
            "NAME_INVALID",
            "name: expected 1 to 200 characters, and no control characters",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_reaches_up_to_their_own_role_but_the_owner() {
        for (role, over) in [
            (FamilyRole::Owner, &FamilyRole::ALL[..]),
            (FamilyRole::Admin, &FamilyRole::ALL[..3]),
            (FamilyRole::Adult, &FamilyRole::ALL[..2]),
            (FamilyRole::Youth, &FamilyRole::ALL[..1]),
            (FamilyRole::Child, &[]),
        ] {
            for other in FamilyRole::ALL {
                assert_eq!(
                    role.is_above(other),
                    over.contains(&other),
                    "{role:?} over {other:?}"
                );
            }
        }
    }

    #[test]
    fn a_role_reads_back_and_an_unknown_one_is_none() {
        for role in FamilyRole::ALL {
            assert_eq!(role.role().name(), role.name());
            assert_eq!(FamilyRole::read(role.name()).expect("it is known"), role);
        }
        assert!(FamilyRole::read("admin").is_err());
    }
}

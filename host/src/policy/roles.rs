//! Roles of the policy, and sets of them that fit into a byte.

use crate::plugin::manifest::Role;

/// Whom the policy knows: the six roles in a family, and a person without regard to any family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyRole {
    /// A member of the active family, or its machine.
    Family(Role),
    /// Somebody who is signed in: the own account and the list of own families, nothing in a family.
    User,
}

impl PolicyRole {
    /// All of them, in the order of the policy's letters.
    pub const ALL: [Self; 7] = [
        Self::Family(Role::Owner),
        Self::Family(Role::Admin),
        Self::Family(Role::AdultMember),
        Self::Family(Role::YouthMember),
        Self::Family(Role::ChildMember),
        Self::Family(Role::Device),
        Self::User,
    ];

    /// The letter in the policy.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Family(Role::Owner) => "O",
            Self::Family(Role::Admin) => "A",
            Self::Family(Role::AdultMember) => "D",
            Self::Family(Role::YouthMember) => "Y",
            Self::Family(Role::ChildMember) => "C",
            Self::Family(Role::Device) => "V",
            Self::User => "U",
        }
    }

    /// The name in tokens and in Hasura.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Family(Role::Owner) => "OWNER",
            Self::Family(Role::Admin) => "ADMIN",
            Self::Family(Role::AdultMember) => "ADULT_MEMBER",
            Self::Family(Role::YouthMember) => "YOUTH_MEMBER",
            Self::Family(Role::ChildMember) => "CHILD_MEMBER",
            Self::Family(Role::Device) => "DEVICE",
            Self::User => "user",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Family(role) => family_bit(role),
            Self::User => 1 << 6,
        }
    }
}

const fn family_bit(role: Role) -> u8 {
    1 << match role {
        Role::Owner => 0,
        Role::Admin => 1,
        Role::AdultMember => 2,
        Role::YouthMember => 3,
        Role::ChildMember => 4,
        Role::Device => 5,
    }
}

/// A set of roles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    /// Whether the family role is one of them.
    pub const fn contain(self, role: Role) -> bool {
        self.0 & family_bit(role) != 0
    }

    /// Whether the role is one of them.
    pub const fn has(self, role: PolicyRole) -> bool {
        self.0 & role.bit() != 0
    }

    /// Those in a family, as one number: bit 0 for the role with the number 1 at the boundary, and so on.
    pub fn numbers(self) -> u32 {
        u32::from(self.0 & !PolicyRole::User.bit())
    }

    /// Their names, in the order of the policy.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.iter().map(PolicyRole::name)
    }

    /// Each of them, in the order of the policy.
    pub fn iter(self) -> impl Iterator<Item = PolicyRole> {
        let all = PolicyRole::ALL.into_iter();
        all.filter(move |role| self.has(*role))
    }

    /// The roles of these letters: each once, in the policy's order.
    ///
    /// # Errors
    ///
    /// The first letter that is none, or stands where it should not.
    pub(super) fn of_letters(letters: &str) -> Result<Self, String> {
        let mut roles = Self::default();
        for letter in letters.split(' ') {
            let role = PolicyRole::ALL
                .into_iter()
                .find(|one| one.letter() == letter);
            // A later letter has a higher bit.
            match role {
                Some(role) if role.bit() > roles.0 => roles.0 |= role.bit(),
                _ => return Err(letter.to_owned()),
            }
        }
        Ok(roles)
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(
            roles
                .into_iter()
                .map(family_bit)
                .fold(0, |all, bit| all | bit),
        )
    }
}

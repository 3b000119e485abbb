//! What members of a family may do. The host's policy says it, once for routes, GraphQL and this plugin: here is only which of
//! its actions the plugin asks about.
//!
//! Most of these routes cannot leave it to the host's gate, which knows the active family of a token: their family stands in
//! the path, and the role in it is read from the database, because a token may be minutes old.

use nself_plugin_api::{capability::policy::Roles, prelude::*};

use crate::{
    Auth,
    family::{FamilyRole, Standing},
    problem,
};

/// What the policy is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Power {
    ManageMembers,
    ChangeRoles,
    GuardChildren,
    ManageDevices,
    ChangeSettings,
    ExportFamily,
    DeleteFamily,
}

impl Power {
    const ALL: [Self; 7] = [
        Self::ManageMembers,
        Self::ChangeRoles,
        Self::GuardChildren,
        Self::ManageDevices,
        Self::ChangeSettings,
        Self::ExportFamily,
        Self::DeleteFamily,
    ];

    /// As the policy has it.
    const fn name(self) -> &'static str {
        match self {
            Self::ManageMembers => "member.manage",
            Self::ChangeRoles => "member.change_role",
            Self::GuardChildren => "child.guard",
            Self::ManageDevices => "device.manage",
            Self::ChangeSettings => "family.settings",
            Self::ExportFamily => "family.export",
            Self::DeleteFamily => "family.delete",
        }
    }
}

/// What the policy says about each of them.
pub(crate) struct Powers(Vec<(Power, Roles)>);

impl Powers {
    /// Asks the host.
    ///
    /// # Errors
    ///
    /// When its policy lacks one of the actions: nobody may do then what is not said.
    pub(crate) fn ask(context: &Context) -> Result<Self> {
        let roles = |power: Power| Ok((power, context.policy().roles(power.name())?));
        Power::ALL
            .into_iter()
            .map(roles)
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Whether they give `role` this.
    pub(crate) fn give(&self, role: FamilyRole, power: Power) -> bool {
        let mut all = self.0.iter();
        all.any(|(one, roles)| *one == power && roles.contain(role.role()))
    }
}

impl Standing {
    /// Whether somebody who stands so may do this.
    pub(crate) fn may(&self, cx: &Cx<Auth>, power: Power) -> bool {
        cx.plugin().powers.give(self.role, power)
    }

    /// # Errors
    ///
    /// 403 for a role that may not do this.
    pub(crate) fn must(&self, cx: &Cx<Auth>, power: Power) -> Result<()> {
        if self.may(cx, power) {
            Ok(())
        } else {
            Err(problem::role_too_low())
        }
    }
}

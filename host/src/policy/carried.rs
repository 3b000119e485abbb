//! What the token of each role carries. A rule that names more would make every query of the role fail; and the list of all
//! families is for the one role that acts in none, for what everybody in them may see anyway.

use super::{Grant, Operation, Policy, PolicyError, PolicyRole, Tabled, rules};
use crate::plugin::manifest::Role;

const FAMILY: &str = "X-Hasura-Family-Id";
const FAMILIES: &str = "X-Hasura-Family-Ids";
const USER: &str = "X-Hasura-User-Id";
const MEMBER: &str = "X-Hasura-Member-Id";
const DEVICE: &str = "X-Hasura-Device-Id";

/// The session variables that a rule may use for a role.
pub fn variables(role: PolicyRole) -> &'static [&'static str] {
    match role {
        PolicyRole::User => &[USER, FAMILIES],
        PolicyRole::Family(Role::Device) => &[FAMILY, DEVICE],
        PolicyRole::Family(_) => &[FAMILY, USER, MEMBER],
    }
}

pub(super) fn check(policy: &Policy) -> Result<(), PolicyError> {
    for (name, table) in policy.tables() {
        for operation in Operation::ALL {
            let place = format!("{name}.{}", operation.name());
            for role in PolicyRole::ALL {
                for grant in policy.grants(table, operation, role) {
                    check_grant(policy, table, grant, role, &place)?;
                }
            }
        }
    }
    Ok(())
}

fn check_grant(
    policy: &Policy,
    table: &Tabled,
    grant: &Grant,
    role: PolicyRole,
    place: &str,
) -> Result<(), PolicyError> {
    let mut names = vec![grant.rule.as_str()];
    if role != PolicyRole::User {
        names.extend([table.rows.as_str(), table.seen.as_str()]);
    }
    for name in names {
        let refuse = |reason: String| {
            Err(PolicyError::Rule {
                rule: name.to_owned(),
                role: role.name(),
                place: place.to_owned(),
                reason,
            })
        };
        let used = rules::variables(policy.rule(name));
        let carried = variables(role);
        if let Some(variable) = used.iter().find(|one| !carried.contains(&one.as_str())) {
            return refuse(format!("a token of that role carries no {variable} for it"));
        }
        if used.iter().any(|variable| variable == FAMILIES)
            && let Some(other) = blind(policy, table, grant)
        {
            return refuse(format!("not even {} in the family sees that", other.name()));
        }
    }
    Ok(())
}

/// A role in the family that does not see all that the grant shows.
fn blind(policy: &Policy, table: &Tabled, grant: &Grant) -> Option<PolicyRole> {
    let sees = |role: &PolicyRole| {
        let mut grants = policy.grants(table, Operation::Select, *role);
        grants.any(|other| match (&grant.columns, &other.columns) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(shown), Some(seen)) => shown.iter().all(|column| seen.contains(column)),
        })
    };
    let family = PolicyRole::ALL
        .into_iter()
        .filter(|role| *role != PolicyRole::User);
    family.into_iter().find(|role| !sees(role))
}

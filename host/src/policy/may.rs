//! The policy's answer to "may this role do that", as a function in the database. Written once more by nobody: a test holds the
//! step of `db/nself` that makes the function, and this, together.

use super::{Policy, PolicyRole};

/// The newest step that makes it.
const STEP: &str = include_str!("../../../db/nself/0011_may.up.sql");

/// The statement that makes the function. Actions of people without regard to a family are not asked in one.
fn statement(policy: &Policy) -> String {
    let cases = policy.actions().filter_map(|(action, roles)| {
        let family_roles = roles
            .iter()
            .filter(|role| matches!(role, PolicyRole::Family(_)));
        let names: Vec<String> = family_roles
            .map(|role| format!("'{}'", role.name()))
            .collect();
        let roles = names.join(", ");
        (!names.is_empty()).then(|| format!("        WHEN '{action}' THEN role IN ({roles})"))
    });
    let cases = cases.collect::<Vec<_>>().join("\n");
    format!(
        "CREATE OR REPLACE FUNCTION nself.may(role text, action text) RETURNS boolean\n    \
         LANGUAGE sql IMMUTABLE\nAS $$\n    SELECT coalesce(CASE action\n{cases}\n    END, false)\n$$;\n"
    )
}

#[test]
fn the_function_of_the_database_says_what_the_policy_says() {
    let statement = statement(Policy::embedded());
    assert!(
        STEP.contains(&statement),
        "write a step of db/nself with this:\n{statement}"
    );
}

//! The facts that row-level security stands on, as SQL: whose family, which person, which role.
//!
//! They hold for one transaction (`SET LOCAL`), so a connection that goes back to the pool carries nothing of its last user,
//! however that one ended.

use std::fmt::Write as _;

use crate::{capability::caller, identity::Principal, policy::PolicyRole};

/// Statements that tell the database in whose name the rest of the transaction is; empty outside of requests.
pub(super) fn local() -> String {
    settings("set local")
}

/// The same for a connection that is closed after its use.
pub(super) fn session() -> String {
    settings("set")
}

fn settings(set: &str) -> String {
    let mut sql = String::new();
    let Some(caller) = caller::current() else {
        return sql;
    };
    for (name, value) in facts(&caller) {
        // Ids and names of roles: nothing in them needs quoting. Writing to a String does not fail.
        let _ = write!(sql, "; {set} nself.{name} = '{value}'");
    }
    sql
}

fn facts(caller: &Principal) -> impl Iterator<Item = (&'static str, String)> {
    let family = caller.family_id.map(|id| ("family_id", id.to_string()));
    let user = caller.user_id.map(|id| ("user_id", id.to_string()));
    let role = caller.role.filter(|_| caller.family_id.is_some());
    let role = role.map(|role| ("role", PolicyRole::Family(role).name().to_owned()));
    [family, user, role].into_iter().flatten()
}

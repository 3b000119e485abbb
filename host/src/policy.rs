//! Who may do what: `db/policy.toml`, the one place where it is said.
//!
//! Three readers follow from it: the access of routes ([`crate::identity::Gate`]), the permissions of Hasura
//! ([`crate::hasura`]), and the tests that hold the two together. It is a part of the program, so that all three are of one
//! version; a mistake in it fails the build's tests, never an installation.

pub mod carried;
mod file;
#[cfg(test)]
mod may;
mod roles;
pub mod rules;
#[cfg(test)]
mod seeing;

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::{Map, Value};

pub use self::{
    file::{Columns, Grant, Operation, Tabled},
    roles::{PolicyRole, Roles},
};

static EMBEDDED: LazyLock<Policy> = LazyLock::new(|| {
    Policy::read(SOURCE).expect("db/policy.toml is checked by the tests of this module")
});

const SOURCE: &str = include_str!("../../db/policy.toml");

/// How many names are told when one is not known.
const NEAR: usize = 3;

/// The policy, checked.
#[derive(Debug)]
pub struct Policy {
    actions: BTreeMap<String, Roles>,
    rules: BTreeMap<String, Map<String, Value>>,
    tables: BTreeMap<String, Tabled>,
}

/// Why a policy is not one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PolicyError {
    /// No TOML, or a key that nobody reads.
    #[error("it does not read: {0}")]
    Syntax(String),
    /// A letter that is no role, or one too many.
    #[error(
        "the action {action} names the role {letter:?}: write each of O A D Y C V U once, in this order"
    )]
    Role {
        /// The action.
        action: String,
        /// What stands there.
        letter: String,
    },
    /// A name of another form.
    #[error("{0:?} is no name of an action: noun.verb, lower-case")]
    ActionName(String),
    /// Something is named that is not there.
    #[error("{place} names the {kind} {name:?}, which is not there")]
    Unknown {
        /// Where.
        place: String,
        /// Action or rule.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// Something is there that nothing names.
    #[error("the {kind} {name:?} is used by nothing: take it out, or use it")]
    Unused {
        /// Action or rule.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A condition that cannot hold what it promises.
    #[error("the rule {rule:?} cannot be one for {role} at {place}: {reason}")]
    Rule {
        /// The rule.
        rule: String,
        /// For whom.
        role: &'static str,
        /// Where.
        place: String,
        /// Why.
        reason: String,
    },
}

impl Policy {
    /// The one that this program has.
    pub fn embedded() -> &'static Self {
        &EMBEDDED
    }

    /// Reads and checks a policy.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn read(text: &str) -> Result<Self, PolicyError> {
        let policy = file::read(text)?;
        carried::check(&policy)?;
        Ok(policy)
    }

    /// Who may do this; nothing when there is no such action.
    pub fn action(&self, action: &str) -> Option<Roles> {
        self.actions.get(action).copied()
    }

    /// Every action with those who may do it.
    pub fn actions(&self) -> impl Iterator<Item = (&str, Roles)> {
        self.actions
            .iter()
            .map(|(name, roles)| (name.as_str(), *roles))
    }

    /// The names of actions that look most like this one.
    pub fn near(&self, action: &str) -> Vec<&str> {
        let mut names: Vec<&str> = self.actions.keys().map(String::as_str).collect();
        names.sort_by_key(|name| strsim::damerau_levenshtein(name, action));
        names.truncate(NEAR);
        names
    }

    /// The tables of the shared model, by name.
    pub fn tables(&self) -> &BTreeMap<String, Tabled> {
        &self.tables
    }

    /// The condition of a rule, in Hasura's language. `any` is the empty one.
    pub fn rule(&self, name: &str) -> &Map<String, Value> {
        static ANY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        self.rules.get(name).unwrap_or(&ANY)
    }

    /// What `role` gets of an operation on a table: every grant whose action it may do.
    pub fn grants<'a>(
        &'a self,
        table: &'a Tabled,
        operation: Operation,
        role: PolicyRole,
    ) -> impl Iterator<Item = &'a Grant> {
        let granted = move |grant: &&Grant| {
            let roles = self.action(&grant.action).unwrap_or_default();
            roles.has(role)
        };
        table.grants(operation).iter().filter(granted)
    }
}

#[cfg(test)]
mod tests;

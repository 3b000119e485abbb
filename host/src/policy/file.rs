//! The policy as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Policy, PolicyError, roles::Roles, rules};

/// What can be done with rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Read them.
    Select,
    /// Make them.
    Insert,
    /// Change them.
    Update,
    /// Take them away.
    Delete,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Select, Self::Insert, Self::Update, Self::Delete];

    /// The word in the policy.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Select => "select",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    actions: BTreeMap<String, String>,
    routing: Routing,
    rules: BTreeMap<String, Map<String, Value>>,
    tables: BTreeMap<String, TableEntry>,
}

/// Actions that guard routes and no rows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Routing {
    routes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableEntry {
    #[serde(default = "family")]
    rows: String,
    #[serde(default = "any")]
    seen: String,
    #[serde(default)]
    select: BTreeMap<String, GrantEntry>,
    #[serde(default)]
    insert: BTreeMap<String, GrantEntry>,
    #[serde(default)]
    update: BTreeMap<String, GrantEntry>,
    #[serde(default)]
    delete: BTreeMap<String, GrantEntry>,
    #[serde(default)]
    columns: Columns,
    #[serde(default)]
    computed: Vec<String>,
    #[serde(default)]
    functions: Vec<String>,
}

fn family() -> String {
    "family".to_owned()
}

fn any() -> String {
    ANY.to_owned()
}

/// The rule that is none.
pub(super) const ANY: &str = "any";

/// A rule, or a rule and the columns that go with it.
#[derive(Deserialize)]
#[serde(untagged)]
enum GrantEntry {
    Rule(String),
    Narrow(Narrow),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Narrow {
    rows: String,
    columns: Vec<String>,
}

/// Columns of a table, as far as not every one is for everybody.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Columns {
    /// Never shown.
    pub hidden: Vec<String>,
    /// What whoever may insert gives.
    pub insert: Vec<String>,
    /// What whoever may update gives.
    pub update: Vec<String>,
    /// What the database gets from the session, whatever the caller says.
    pub preset: BTreeMap<String, String>,
}

/// One row of what may be done with a table.
#[derive(Debug)]
pub struct Grant {
    /// Whoever may do this
    pub action: String,
    /// may do it with the rows of this rule.
    pub rule: String,
    /// Only these columns, when it says so.
    pub columns: Option<Vec<String>>,
}

/// What may be done with a table of the shared model.
#[derive(Debug)]
pub struct Tabled {
    /// The rule that narrows everything for roles in a family.
    pub rows: String,
    /// The rule that narrows what roles in a family read.
    pub seen: String,
    select: Vec<Grant>,
    insert: Vec<Grant>,
    update: Vec<Grant>,
    delete: Vec<Grant>,
    /// Its columns.
    pub columns: Columns,
    /// Fields that a function makes of a row, for whoever reads the row: `reaction_count` of `posts` is the function
    /// `posts_reaction_count`.
    pub computed: Vec<String>,
    /// Functions that answer rows of it, for whoever reads them.
    pub functions: Vec<String>,
}

impl Tabled {
    /// Who may do it, and with which rows.
    pub fn grants(&self, operation: Operation) -> &[Grant] {
        match operation {
            Operation::Select => &self.select,
            Operation::Insert => &self.insert,
            Operation::Update => &self.update,
            Operation::Delete => &self.delete,
        }
    }
}

impl From<TableEntry> for Tabled {
    fn from(entry: TableEntry) -> Self {
        let grants = |entries: BTreeMap<String, GrantEntry>| {
            let grant = |(action, entry)| match entry {
                GrantEntry::Rule(rule) => Grant {
                    action,
                    rule,
                    columns: None,
                },
                GrantEntry::Narrow(Narrow { rows, columns }) => Grant {
                    action,
                    rule: rows,
                    columns: Some(columns),
                },
            };
            entries.into_iter().map(grant).collect()
        };
        Self {
            rows: entry.rows,
            seen: entry.seen,
            select: grants(entry.select),
            insert: grants(entry.insert),
            update: grants(entry.update),
            delete: grants(entry.delete),
            columns: entry.columns,
            computed: entry.computed,
            functions: entry.functions,
        }
    }
}

/// Reads it and looks whether every name leads somewhere.
pub(super) fn read(text: &str) -> Result<Policy, PolicyError> {
    let document: Document =
        toml::from_str(text).map_err(|error| PolicyError::Syntax(error.to_string()))?;
    let mut actions = BTreeMap::new();
    for (action, letters) in document.actions {
        if !is_action(&action) {
            return Err(PolicyError::ActionName(action));
        }
        let roles = Roles::of_letters(&letters).map_err(|letter| PolicyError::Role {
            action: action.clone(),
            letter,
        })?;
        actions.insert(action, roles);
    }
    let tables = document.tables.into_iter();
    let used = rules::named(&document.rules);
    let policy = Policy {
        actions,
        rules: rules::spelled_out(&document.rules)?,
        tables: tables.map(|(name, entry)| (name, entry.into())).collect(),
    };
    names(&policy, &document.routing.routes, &used)?;
    Ok(policy)
}

fn is_action(name: &str) -> bool {
    let is_word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    name.split_once('.')
        .is_some_and(|(noun, verb)| is_word(noun) && is_word(verb))
}

fn names(policy: &Policy, routes: &[String], used: &[String]) -> Result<(), PolicyError> {
    let unknown = |place: String, kind, name: &str| {
        Err(PolicyError::Unknown {
            place,
            kind,
            name: name.to_owned(),
        })
    };
    let mut actions: Vec<&str> = routes.iter().map(String::as_str).collect();
    if let Some(name) = actions.iter().find(|name| policy.action(name).is_none()) {
        return unknown("routes".to_owned(), "action", name);
    }
    let mut rules = vec![];
    for (name, table) in &policy.tables {
        rules.push((name.clone(), table.rows.as_str()));
        rules.push((name.clone(), table.seen.as_str()));
        for operation in Operation::ALL {
            let place = format!("{name}.{}", operation.name());
            for grant in table.grants(operation) {
                if policy.action(&grant.action).is_none() {
                    return unknown(place, "action", &grant.action);
                }
                actions.push(&grant.action);
                rules.push((place.clone(), &grant.rule));
            }
        }
    }
    for (place, rule) in &rules {
        if *rule != ANY && !policy.rules.contains_key(*rule) {
            return unknown(place.clone(), "rule", rule);
        }
    }
    let unused = |kind, name: &str| {
        Err(PolicyError::Unused {
            kind,
            name: name.to_owned(),
        })
    };
    if let Some((name, _)) = policy.actions().find(|(name, _)| !actions.contains(name)) {
        return unused("action", name);
    }
    let is_used = |name: &str| {
        rules.iter().any(|(_, rule)| *rule == name) || used.iter().any(|one| one == name)
    };
    match policy.rules.keys().find(|name| !is_used(name)) {
        Some(name) => unused("rule", name),
        None => Ok(()),
    }
}

//! Relationships from foreign keys, with names that follow from the columns, so that they stay when tables are added.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    TableName,
    catalog::{Catalog, ForeignKey},
};

/// The relationships of each table, as they stand in the document.
#[derive(Debug, Default)]
pub(super) struct Relationships {
    /// To one row.
    pub object: BTreeMap<String, Value>,
    /// To many rows.
    pub array: BTreeMap<String, Value>,
}

/// Those of `tracked`, among each other.
pub(super) fn all(
    catalog: &Catalog,
    tracked: &BTreeSet<TableName>,
) -> BTreeMap<TableName, Relationships> {
    let mut all: BTreeMap<TableName, Relationships> = BTreeMap::new();
    for source in tracked {
        let Some(relation) = catalog.tables.get(source) else {
            continue;
        };
        let keys = relation.foreign_keys.iter();
        let keys: Vec<&ForeignKey> = keys.filter(|key| tracked.contains(&key.target)).collect();
        for key in &keys {
            let name = forward(key);
            let on = json!({"foreign_key_constraint_on": one_or_many(&key.columns)});
            let there = all.entry(source.clone()).or_default();
            there.object.insert(name.clone(), on);
            let beside = keys
                .iter()
                .filter(|other| other.target == key.target)
                .count();
            let back = if beside == 1 || name == singular(&key.target.name) {
                source.field()
            } else {
                format!("{}_by_{name}", source.field())
            };
            let from = json!({"foreign_key_constraint_on": referring(source, &key.columns)});
            let there = all.entry(key.target.clone()).or_default();
            if key.is_unique {
                there.object.insert(singular(&back), from);
            } else {
                there.array.insert(back, from);
            }
        }
    }
    all
}

/// `author` for `author_id`, `created_by_user` for `created_by`: a column and a relationship cannot share a name.
fn forward(key: &ForeignKey) -> String {
    let column = key.columns.last().map(String::as_str).unwrap_or_default();
    match column.strip_suffix("_id") {
        Some(name) => name.to_owned(),
        None => format!("{column}_{}", singular(&key.target.name)),
    }
}

fn singular(plural: &str) -> String {
    if let Some(stem) = plural.strip_suffix("ies") {
        return format!("{stem}y");
    }
    plural.strip_suffix('s').unwrap_or(plural).to_owned()
}

fn one_or_many(columns: &[String]) -> Value {
    match columns {
        [one] => json!(one),
        many => json!(many),
    }
}

fn referring(table: &TableName, columns: &[String]) -> Value {
    match columns {
        [one] => json!({"column": one, "table": table.value()}),
        many => json!({"columns": many, "table": table.value()}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(columns: &[&str], target: &str, expected: &str) {
        let key = ForeignKey {
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            target: TableName::public(target),
            target_columns: vec![],
            is_unique: false,
        };
        assert_eq!(forward(&key), expected);
    }

    #[test]
    fn a_relationship_is_named_for_its_column() {
        check(&["user_id"], "users", "user");
        check(&["family_id", "author_id"], "family_members", "author");
        check(&["created_by"], "users", "created_by_user");
        check(
            &["family_id", "approved_by"],
            "family_members",
            "approved_by_family_member",
        );
        check(&["family_id"], "families", "family");
        assert_eq!(singular("families"), "family");
    }
}

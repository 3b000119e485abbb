//! Tables and relationships: whether they exist, and where a relationship leads.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Faults;
use crate::hasura::{
    TableName,
    catalog::{Catalog, ForeignKey},
    tables,
};

pub(super) struct Names<'a> {
    document: &'a Value,
    catalog: &'a Catalog,
    leads: BTreeMap<(TableName, String), TableName>,
}

impl<'a> Names<'a> {
    pub(super) fn new(document: &'a Value, catalog: &'a Catalog) -> Self {
        Self {
            document,
            catalog,
            leads: BTreeMap::new(),
        }
    }

    /// Where the relationship leads.
    pub(super) fn target(&self, table: &TableName, relationship: &str) -> Option<&TableName> {
        self.leads.get(&(table.clone(), relationship.to_owned()))
    }

    pub(super) fn check(&mut self, faults: &mut Faults) {
        let mut seen = vec![];
        for entry in tables(self.document) {
            let Some(table) = TableName::read(&entry["table"]) else {
                continue;
            };
            if seen.contains(&table) {
                faults.add(table.to_string(), "it is tracked twice".to_owned());
            }
            seen.push(table.clone());
            if !self.catalog.tables.contains_key(&table) {
                faults.add(table.to_string(), "there is no such table".to_owned());
                continue;
            }
            self.relationships(&table, entry, faults);
        }
        for ((table, name), target) in &self.leads {
            if !seen.contains(target) {
                faults.add(
                    format!("{table}, relationship {name}"),
                    format!("{target} is not tracked"),
                );
            }
        }
    }

    fn relationships(&mut self, table: &TableName, entry: &Value, faults: &mut Faults) {
        let relation = &self.catalog.tables[table];
        for key in ["object_relationships", "array_relationships"] {
            for one in entry[key].as_array().into_iter().flatten() {
                let name = one["name"].as_str().unwrap_or_default();
                let place = format!("{table}, relationship {name}");
                if relation.has(name) {
                    faults.add(place.clone(), "a column has the same name".to_owned());
                }
                match self.lead(table, &one["using"]) {
                    Ok(target) => {
                        let key = (table.clone(), name.to_owned());
                        if self.leads.insert(key, target).is_some() {
                            faults.add(place, "there are two of that name".to_owned());
                        }
                    }
                    Err(problem) => faults.add(place, problem),
                }
            }
        }
    }

    fn lead(&self, table: &TableName, using: &Value) -> Result<TableName, String> {
        let manual = &using["manual_configuration"];
        if !manual.is_null() {
            return self.manual(table, manual);
        }
        let on = &using["foreign_key_constraint_on"];
        let (source, columns) = if on.is_object() {
            let source = TableName::read(&on["table"]).unwrap_or_else(|| table.clone());
            let columns = if on["columns"].is_null() {
                &on["column"]
            } else {
                &on["columns"]
            };
            (source, columns)
        } else {
            (table.clone(), on)
        };
        let columns = texts(columns);
        let relation = self.catalog.tables.get(&source);
        let relation = relation.ok_or_else(|| format!("there is no table {source}"))?;
        let key: Option<&ForeignKey> = relation.foreign_keys.iter().find(|key| {
            key.columns.len() == columns.len()
                && columns.iter().all(|column| key.columns.contains(column))
                && (!on.is_object() || key.target == *table)
        });
        let key =
            key.ok_or_else(|| format!("{source} has no foreign key on {}", columns.join(", ")))?;
        Ok(if on.is_object() {
            source
        } else {
            key.target.clone()
        })
    }

    fn manual(&self, table: &TableName, manual: &Value) -> Result<TableName, String> {
        let target = TableName::read(&manual["remote_table"]).ok_or("it names no table")?;
        let there = self.catalog.tables.get(&target);
        let there = there.ok_or_else(|| format!("there is no table {target}"))?;
        let pairs = manual["column_mapping"].as_object().into_iter().flatten();
        for (own, other) in pairs {
            if !self.catalog.tables[table].has(own) {
                return Err(format!("there is no column {own}"));
            }
            let other = other.as_str().unwrap_or_default();
            if !there.has(other) {
                return Err(format!("{target} has no column {other}"));
            }
        }
        Ok(target)
    }
}

/// The names in a list, or the only one.
pub(super) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(one) => vec![one.clone()],
        Value::Array(many) => many
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => vec![],
    }
}

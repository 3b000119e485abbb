//! Boolean expressions: every name in them is a column, a relationship or an operator, every variable one that the role's
//! tokens carry.

use serde_json::Value;

use super::{Faults, names::Names};
use crate::hasura::{TableName, catalog::Catalog};

/// What compares a column with a value.
const OPERATORS: [&str; 29] = [
    "_eq",
    "_ne",
    "_neq",
    "_gt",
    "_lt",
    "_gte",
    "_lte",
    "_in",
    "_nin",
    "_is_null",
    "_like",
    "_nlike",
    "_ilike",
    "_nilike",
    "_similar",
    "_nsimilar",
    "_regex",
    "_iregex",
    "_nregex",
    "_niregex",
    "_contains",
    "_contained_in",
    "_has_key",
    "_has_keys_any",
    "_has_keys_all",
    "_ancestor",
    "_descendant",
    "_matches",
    "_cast",
];

/// What compares a column with another one.
const COLUMN_OPERATORS: [&str; 7] = ["_ceq", "_cne", "_cneq", "_cgt", "_clt", "_cgte", "_clte"];

pub(super) struct Conditions<'a> {
    pub(super) names: &'a Names<'a>,
    pub(super) catalog: &'a Catalog,
    /// Variables that the role's tokens carry.
    pub(super) carried: &'static [&'static str],
    pub(super) role: &'a str,
}

impl Conditions<'_> {
    pub(super) fn check(
        &self,
        table: &TableName,
        condition: &Value,
        place: &str,
        faults: &mut Faults,
    ) {
        let Some(map) = condition.as_object() else {
            return;
        };
        for (key, value) in map {
            match key.replacen('$', "_", 1).as_str() {
                "_and" | "_or" => {
                    for part in value.as_array().into_iter().flatten() {
                        self.check(table, part, place, faults);
                    }
                }
                "_not" => self.check(table, value, place, faults),
                "_exists" => self.exists(value, place, faults),
                _ => self.named(table, key, value, place, faults),
            }
        }
    }

    fn exists(&self, value: &Value, place: &str, faults: &mut Faults) {
        match TableName::read(&value["_table"]) {
            Some(table) if self.catalog.tables.contains_key(&table) => {
                self.check(&table, &value["_where"], place, faults);
            }
            table => {
                let table = table.map(|table| table.to_string()).unwrap_or_default();
                faults.add(place.to_owned(), format!("there is no table {table}"));
            }
        }
    }

    fn named(
        &self,
        table: &TableName,
        name: &str,
        value: &Value,
        place: &str,
        faults: &mut Faults,
    ) {
        let relation = self.catalog.tables.get(table);
        if relation.is_some_and(|relation| relation.has(name)) {
            self.compared(table, value, place, faults);
        } else if let Some(target) = self.names.target(table, name) {
            self.check(target, value, place, faults);
        } else {
            faults.add(
                place.to_owned(),
                format!("{table} has neither a column nor a relationship {name}"),
            );
        }
    }

    fn compared(&self, table: &TableName, value: &Value, place: &str, faults: &mut Faults) {
        let Some(map) = value.as_object() else {
            return self.variable(value, place, faults);
        };
        for (operator, operand) in map {
            let known = operator.replacen('$', "_", 1);
            if COLUMN_OPERATORS.contains(&known.as_str()) {
                let column = operand.as_str();
                let relation = self.catalog.tables.get(table);
                if let (Some(column), Some(relation)) = (column, relation)
                    && !relation.has(column)
                {
                    faults.add(place.to_owned(), format!("there is no column {column}"));
                }
            } else if OPERATORS.contains(&known.as_str()) || known.starts_with("_st_") {
                self.variable(operand, place, faults);
            } else {
                faults.add(place.to_owned(), format!("there is no operator {operator}"));
            }
        }
    }

    /// Looks for session variables in a value.
    pub(super) fn variable(&self, value: &Value, place: &str, faults: &mut Faults) {
        match value {
            Value::String(text) => {
                let name = text.to_ascii_lowercase();
                let is_carried = self
                    .carried
                    .iter()
                    .any(|one| one.eq_ignore_ascii_case(&name));
                if name.starts_with("x-hasura-") && !is_carried {
                    faults.add(place.to_owned(), self.not_carried(text));
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.variable(item, place, faults);
                }
            }
            Value::Object(map) => {
                for item in map.values() {
                    self.variable(item, place, faults);
                }
            }
            _ => {}
        }
    }

    fn not_carried(&self, variable: &str) -> String {
        if self.carried.is_empty() {
            return format!(
                "{} comes without a token, so anybody could forge {variable}",
                self.role
            );
        }
        format!("the token of {} does not carry {variable}", self.role)
    }
}

//! What there is in the live schema, in one look.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use tokio_postgres::Client;

use super::TableName;

/// The tables and functions of a database.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Tables and views.
    pub tables: BTreeMap<TableName, Relation>,
    /// Functions, without their arguments.
    pub functions: BTreeSet<TableName>,
}

/// A table or view.
#[derive(Debug, Default)]
pub struct Relation {
    /// What its comment says.
    pub comment: Option<String>,
    /// Names and types, in their order.
    pub columns: Vec<Column>,
    /// Columns of the primary key.
    pub primary_key: Vec<String>,
    /// To whom it refers, by the constraints' names.
    pub foreign_keys: Vec<ForeignKey>,
}

impl Relation {
    /// Whether it has that column.
    pub fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|one| one.name == column)
    }
}

/// A column.
#[derive(Debug, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// As Postgres writes its type.
    pub kind: String,
}

/// A foreign key.
#[derive(Debug, Clone)]
pub struct ForeignKey {
    /// The columns that refer, in the constraint's order.
    pub columns: Vec<String>,
    /// The table that they refer to.
    pub target: TableName,
    /// Its columns, in the same order.
    pub target_columns: Vec<String>,
    /// Whether one row at most refers to a row of the target.
    pub is_unique: bool,
}

const RELATIONS: &str = "\
SELECT n.nspname::text, c.relname::text, obj_description(c.oid, 'pg_class'),
    (SELECT json_agg(json_build_object('name', a.attname, 'kind', format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum)::text
     FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    coalesce((SELECT array_agg(a.attname::text ORDER BY k.place) FROM pg_constraint p,
        unnest(p.conkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_attribute a ON a.attnum = k.number
        WHERE p.conrelid = c.oid AND p.contype = 'p' AND a.attrelid = c.oid), '{}')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

const FOREIGN_KEYS: &str = "\
SELECT n.nspname::text, c.relname::text, tn.nspname::text, t.relname::text,
    (SELECT array_agg(a.attname::text ORDER BY k.place) FROM unnest(f.conkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.number),
    (SELECT array_agg(a.attname::text ORDER BY k.place) FROM unnest(f.confkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.number),
    EXISTS (SELECT FROM pg_index i WHERE i.indrelid = f.conrelid AND i.indisunique AND i.indpred IS NULL
        AND i.indkey::int2[] <@ f.conkey)
FROM pg_constraint f
JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class t ON t.oid = f.confrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
WHERE f.contype = 'f' ORDER BY n.nspname, c.relname, f.conname";

const FUNCTIONS: &str = "\
SELECT n.nspname::text, p.proname::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

impl Catalog {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn read(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let mut catalog = Self::default();
        for row in client.query(RELATIONS, &[]).await? {
            let columns: Option<String> = row.get(3);
            let relation = Relation {
                comment: row.get(2),
                columns: columns
                    .and_then(|text| serde_json::from_str(&text).ok())
                    .unwrap_or_default(),
                primary_key: row.get(4),
                foreign_keys: vec![],
            };
            catalog.tables.insert(name(&row, 0), relation);
        }
        for row in client.query(FOREIGN_KEYS, &[]).await? {
            let key = ForeignKey {
                columns: row.get(4),
                target: name(&row, 2),
                target_columns: row.get(5),
                is_unique: row.get(6),
            };
            if let Some(relation) = catalog.tables.get_mut(&name(&row, 0)) {
                relation.foreign_keys.push(key);
            }
        }
        let functions = client.query(FUNCTIONS, &[]).await?;
        catalog.functions = functions.iter().map(|row| name(row, 0)).collect();
        Ok(catalog)
    }
}

fn name(row: &tokio_postgres::Row, at: usize) -> TableName {
    TableName {
        schema: row.get(at),
        name: row.get(at + 1),
    }
}

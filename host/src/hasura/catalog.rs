//! What there is in the live schema, in one look.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use tokio_postgres::Client;

use super::{TableName, function::SESSION};

/// The tables and functions of a database.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Tables and views.
    pub tables: BTreeMap<TableName, Relation>,
    /// Functions, by their names.
    pub functions: BTreeMap<TableName, Function>,
    /// Names of Postgres' own types, which Hasura has as scalars.
    pub scalars: BTreeSet<String>,
}

/// A function.
#[derive(Debug, Clone)]
pub struct Function {
    /// What its comment says.
    pub comment: Option<String>,
    /// What it takes.
    pub arguments: Vec<Argument>,
    /// The table whose rows it answers, if it does.
    pub returns: Option<TableName>,
    /// Whether it answers any number of rows or values.
    pub is_set: bool,
    /// Whether it changes something, as far as Postgres knows.
    pub is_volatile: bool,
    /// Whether others have its name: Hasura tracks none of them then.
    pub is_overloaded: bool,
}

impl Function {
    /// Whether it reads who asks.
    pub fn takes_session(&self) -> bool {
        self.arguments.iter().any(|one| one.name == SESSION)
    }
}

/// An argument of a function.
#[derive(Debug, Clone, Deserialize)]
pub struct Argument {
    /// Its name, empty without one.
    pub name: String,
    /// As Postgres writes its type.
    pub kind: String,
    /// The table whose row it is, by schema and name, if it is one.
    pub row: Option<[String; 2]>,
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
SELECT n.nspname::text, p.proname::text, obj_description(p.oid, 'pg_proc'), p.proretset, p.provolatile = 'v',
    rn.nspname::text, rc.relname::text,
    (SELECT coalesce(json_agg(json_build_object('name', coalesce(p.proargnames[a.place], ''), 'kind', format_type(a.type, NULL),
        'row', CASE WHEN ac.oid IS NOT NULL THEN json_build_array(an.nspname, ac.relname) END) ORDER BY a.place), '[]')::text
     FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a (type, place)
     JOIN pg_type t ON t.oid = a.type LEFT JOIN pg_class ac ON ac.oid = t.typrelid LEFT JOIN pg_namespace an ON an.oid = ac.relnamespace)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
JOIN pg_type r ON r.oid = p.prorettype LEFT JOIN pg_class rc ON rc.oid = r.typrelid LEFT JOIN pg_namespace rn ON rn.oid = rc.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

const SCALARS: &str = "\
SELECT t.typname::text FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname = 'pg_catalog' AND t.typtype = 'b' AND t.typcategory <> 'A'";

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
        for row in client.query(FUNCTIONS, &[]).await? {
            let found = catalog.functions.entry(name(&row, 0));
            found
                .and_modify(|function| function.is_overloaded = true)
                .or_insert_with(|| function(&row));
        }
        let scalars = client.query(SCALARS, &[]).await?;
        catalog.scalars = scalars.iter().map(|row| row.get(0)).collect();
        Ok(catalog)
    }
}

fn function(row: &tokio_postgres::Row) -> Function {
    let arguments: String = row.get(7);
    let returns: Option<String> = row.get(6);
    Function {
        comment: row.get(2),
        arguments: serde_json::from_str(&arguments).unwrap_or_default(),
        returns: returns.map(|_| name(row, 5)),
        is_set: row.get(3),
        is_volatile: row.get(4),
        is_overloaded: false,
    }
}

fn name(row: &tokio_postgres::Row, at: usize) -> TableName {
    TableName {
        schema: row.get(at),
        name: row.get(at + 1),
    }
}

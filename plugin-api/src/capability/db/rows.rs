//! Rows: read in place, in Postgres' binary format.

use std::sync::Arc;

use postgres_types::{FromSql, Type};

use crate::{
    abi::capability::db as raw,
    error::{Error, Result},
};

/// The rows of a result.
pub struct Rows(Arc<Whole>);

/// A result, with the types of its columns looked up once: every cell is read with one.
struct Whole {
    rows: raw::Rows,
    /// None for a type that is not built in.
    types: Vec<Option<Type>>,
}

impl Rows {
    pub(super) fn new(rows: raw::Rows) -> Self {
        let oids = rows.columns().iter().map(|column| column.oid);
        let types = oids.map(Type::from_oid).collect();
        Self(Arc::new(Whole { rows, types }))
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.0.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.rows.is_empty()
    }

    /// Reads every row into a value.
    ///
    /// # Errors
    ///
    /// The first that `read` returns.
    pub fn map<T>(self, mut read: impl FnMut(&Row) -> Result<T>) -> Result<Vec<T>> {
        // One row that moves on: the count of the result's owners stays as it is.
        let mut row = Row {
            whole: self.0,
            index: 0,
        };
        let mut values = Vec::with_capacity(row.whole.rows.len());
        while row.index < row.whole.rows.len() {
            values.push(read(&row)?);
            row.index += 1;
        }
        Ok(values)
    }
}

impl IntoIterator for Rows {
    type Item = Row;
    type IntoIter = RowsIter;

    fn into_iter(self) -> RowsIter {
        RowsIter {
            whole: self.0,
            next: 0,
        }
    }
}

/// Iterator over rows.
pub struct RowsIter {
    whole: Arc<Whole>,
    next: usize,
}

impl Iterator for RowsIter {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let index = self.next;
        (index < self.whole.rows.len()).then(|| {
            self.next += 1;
            Row {
                whole: Arc::clone(&self.whole),
                index,
            }
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.whole.rows.len() - self.next;
        (left, Some(left))
    }
}

/// One row.
pub struct Row {
    whole: Arc<Whole>,
    index: usize,
}

impl Row {
    /// The value of a column, by name or position.
    ///
    /// # Errors
    ///
    /// When there is no such column, or when it does not read as `T`: an error in the plugin, so a 500.
    pub fn get<'a, T: FromSql<'a>>(&'a self, column: impl ColumnIndex) -> Result<T> {
        let Whole { rows, types } = &*self.whole;
        let columns = rows.columns();
        let at = column
            .find(columns)
            .ok_or_else(|| column.error("there is no such column"))?;
        // A type that is not built in, an enum say, has no name here: its reader decides by the bytes.
        let sql_type = match &types[at] {
            Some(sql_type) if T::accepts(sql_type) => sql_type,
            Some(other) => {
                let wanted = std::any::type_name::<T>();
                return Err(column.error(&format!("a {other} does not read as {wanted}")));
            }
            None => &Type::UNKNOWN,
        };
        T::from_sql_nullable(sql_type, rows.cell(self.index, at))
            .map_err(|error| column.error(&error.to_string()))
    }
}

/// A name or a position of a column.
pub trait ColumnIndex: Copy {
    /// Where it is.
    fn find(self, columns: &[raw::Column<'_>]) -> Option<usize>;

    /// The error that names it.
    fn error(self, cause: &str) -> Error;
}

impl ColumnIndex for usize {
    fn find(self, columns: &[raw::Column<'_>]) -> Option<usize> {
        (self < columns.len()).then_some(self)
    }

    fn error(self, cause: &str) -> Error {
        read_error(&self.to_string(), cause)
    }
}

impl ColumnIndex for &str {
    fn find(self, columns: &[raw::Column<'_>]) -> Option<usize> {
        columns
            .iter()
            .position(|column| column.name.as_str() == self)
    }

    fn error(self, cause: &str) -> Error {
        read_error(self, cause)
    }
}

fn read_error(column: &str, cause: &str) -> Error {
    Error::new(500, "INTERNAL", "something went wrong on our side")
        .with_cause(format!("column {column}: {cause}"))
}

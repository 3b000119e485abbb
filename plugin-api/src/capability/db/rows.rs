//! Rows: read in place, in Postgres' binary format.

use std::sync::Arc;

use postgres_types::{FromSql, Type};

use crate::{
    abi::capability::db as raw,
    error::{Error, Result},
};

/// The rows of a result.
pub struct Rows(Arc<raw::Rows>);

impl Rows {
    pub(super) fn new(rows: raw::Rows) -> Self {
        Self(Arc::new(rows))
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads every row into a value.
    ///
    /// # Errors
    ///
    /// The first that `read` returns.
    pub fn map<T>(self, mut read: impl FnMut(&Row) -> Result<T>) -> Result<Vec<T>> {
        self.into_iter().map(|row| read(&row)).collect()
    }
}

impl IntoIterator for Rows {
    type Item = Row;
    type IntoIter = RowsIter;

    fn into_iter(self) -> RowsIter {
        RowsIter {
            rows: self.0,
            next: 0,
        }
    }
}

/// Iterator over rows.
pub struct RowsIter {
    rows: Arc<raw::Rows>,
    next: usize,
}

impl Iterator for RowsIter {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let index = self.next;
        (index < self.rows.len()).then(|| {
            self.next += 1;
            Row {
                rows: Arc::clone(&self.rows),
                index,
            }
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.rows.len() - self.next;
        (left, Some(left))
    }
}

/// One row.
pub struct Row {
    rows: Arc<raw::Rows>,
    index: usize,
}

impl Row {
    /// The value of a column, by name or position.
    ///
    /// # Errors
    ///
    /// When there is no such column, or when it does not read as `T`: an error in the plugin, so a 500.
    pub fn get<'a, T: FromSql<'a>>(&'a self, column: impl ColumnIndex) -> Result<T> {
        let columns = self.rows.columns();
        let at = column
            .find(columns)
            .ok_or_else(|| column.error("there is no such column"))?;
        let sql_type = Type::from_oid(columns[at].oid).unwrap_or(Type::UNKNOWN);
        // A type that is not built in, an enum say, has no name here: its reader decides by the bytes.
        if sql_type != Type::UNKNOWN && !T::accepts(&sql_type) {
            return Err(column.error(&format!(
                "a {sql_type} does not read as {}",
                std::any::type_name::<T>()
            )));
        }
        T::from_sql_nullable(&sql_type, self.rows.cell(self.index, at))
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

//! Postgres: parameters and rows in its binary format, in the driver's own buffers.

use std::{marker::PhantomData, slice};

use crate::abi::layout::layout;
use crate::abi::{
    bytes::{Bytes, Str},
    interface::interface,
    panic::guard_drop,
    stream::Stream,
};

/// `mode` of a session.
pub mod mode {
    /// A connection without a transaction.
    pub const PLAIN: u32 = 0;
    /// `begin`.
    pub const TRANSACTION: u32 = 1;
    /// `begin isolation level serializable`.
    pub const SERIALIZABLE: u32 = 2;
    /// `begin read only`.
    pub const READ_ONLY: u32 = 3;
}

interface! {
    /// The plugin's own pool, logged in as the plugin's own role.
    ///
    /// Parameters cross as one buffer: for each `[u32 oid][i32 length, -1 for null][bytes]`, little endian.
    pub interface Db: DbProvider / DbTable = "nself.db/1" {
        /// Runs one statement on a pooled connection and returns its rows.
        async fn query(sql: Str<'_>, params: Bytes) -> Rows;
        /// Runs one statement on a pooled connection and returns the number of rows that it changed.
        async fn execute(sql: Str<'_>, params: Bytes) -> u64;
        /// Takes a connection out of the pool, in one of the modes of [`mode`].
        async fn session(mode: u32) -> Session;
        /// Notifications of a channel, one chunk each: a zero byte and the payload. Survives a reconnect, with an empty chunk as
        /// the sign.
        async fn listen(channel: Str<'_>) -> Stream;
    }
}

interface! {
    /// One connection, one statement after the other, or pipelined when futures are polled together.
    /// Dropped without `finish`, a transaction rolls back.
    pub interface Session: SessionProvider / SessionTable = "nself.db.session/1" {
        /// As [`Db::query`].
        async fn query(sql: Str<'_>, params: Bytes) -> Rows;
        /// As [`Db::execute`].
        async fn execute(sql: Str<'_>, params: Bytes) -> u64;
        /// Several statements without parameters.
        async fn batch(sql: Str<'_>);
        /// `COPY .. FROM STDIN`.
        async fn copy_in(sql: Str<'_>) -> CopyIn;
        /// `COPY .. TO STDOUT`.
        async fn copy_out(sql: Str<'_>) -> Stream;
        /// Commits (1) or rolls back (0), and gives the connection back.
        async fn finish(commit: u32);
    }
}

interface! {
    /// The sending end of a `COPY`. Dropped without `finish`, the copy is aborted.
    pub interface CopyIn: CopyInProvider / CopyInTable = "nself.db.copy-in/1" {
        /// Sends a chunk in the format of the statement.
        async fn send(chunk: Bytes);
        /// Ends the copy; the number of rows.
        async fn finish() -> u64;
    }
}

/// A column of a result.
#[repr(C)]
pub struct Column<'a> {
    /// Its name.
    pub name: Str<'a>,
    /// Its type.
    pub oid: u32,
}

#[repr(C)]
struct Cell {
    ptr: *const u8,
    /// Bytes, or -1 for null.
    len: isize,
}

/// The rows of a result: a table of cells over the driver's buffers.
#[repr(C)]
pub struct Rows {
    columns: *const Column<'static>,
    column_count: usize,
    cells: *const Cell,
    row_count: usize,
    owner: *mut (),
    drop: Option<unsafe extern "C" fn(*mut ())>,
}

// SAFETY: immutable after construction; the owner is `Send + Sync`.
unsafe impl Send for Rows {}
// SAFETY: as above.
unsafe impl Sync for Rows {}

/// A result of the driver, kept whole while the other side reads it.
pub trait RowSource: Send + Sync + 'static {
    /// Number of rows.
    fn row_count(&self) -> usize;
    /// Number of columns.
    fn column_count(&self) -> usize;
    /// Name and type of a column.
    fn column(&self, column: usize) -> (&str, u32);
    /// Bytes of a cell, `None` for null.
    fn cell(&self, row: usize, column: usize) -> Option<&[u8]>;
}

struct Owner<S> {
    columns: Vec<Column<'static>>,
    cells: Vec<Cell>,
    /// The pointers above point into this; it is boxed, never touched again, and dropped last.
    source: S,
}

unsafe extern "C" fn drop_owner<S>(owner: *mut ()) {
    // SAFETY: made by `Rows::new` of this image with `Box::into_raw`.
    let owner = unsafe { Box::from_raw(owner.cast::<Owner<S>>()) };
    guard_drop(|| drop(owner));
}

impl Rows {
    /// The rows of `source` for the other side.
    pub fn new<S: RowSource>(source: S) -> Self {
        let (row_count, column_count) = (source.row_count(), source.column_count());
        let mut owner = Box::new(Owner {
            columns: Vec::new(),
            cells: Vec::new(),
            source,
        });
        let source: *const S = &raw const owner.source;
        // SAFETY: the source is boxed and lives, unmoved and unchanged, until `drop_owner`; so do the slices it lends.
        let source: &'static S = unsafe { &*source };
        owner.columns = (0..column_count)
            .map(|column| {
                let (name, oid) = source.column(column);
                Column {
                    name: name.into(),
                    oid,
                }
            })
            .collect();
        owner.cells = Vec::with_capacity(row_count * column_count);
        for row in 0..row_count {
            owner.cells.extend(
                (0..column_count).map(|column| match source.cell(row, column) {
                    Some(bytes) => Cell {
                        ptr: bytes.as_ptr(),
                        len: bytes.len().cast_signed(),
                    },
                    None => Cell {
                        ptr: std::ptr::null(),
                        len: -1,
                    },
                }),
            );
        }
        Self {
            columns: owner.columns.as_ptr(),
            column_count,
            cells: owner.cells.as_ptr(),
            row_count,
            owner: Box::into_raw(owner).cast(),
            drop: Some(drop_owner::<S>),
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.row_count
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.row_count == 0
    }

    /// The columns.
    pub fn columns(&self) -> &[Column<'_>] {
        if self.columns.is_null() {
            return &[];
        }
        // SAFETY: not null; the owner keeps the array while `self` lives.
        unsafe { slice::from_raw_parts(self.columns, self.column_count) }
    }

    /// Bytes of a cell; `None` for null and for what is not there.
    pub fn cell(&self, row: usize, column: usize) -> Option<&[u8]> {
        if row >= self.row_count || column >= self.column_count {
            return None;
        }
        // SAFETY: the table has `row_count * column_count` cells, and the index was checked above.
        let cell = unsafe { self.cells.add(row * self.column_count + column) };
        // SAFETY: as above; the owner keeps the table while `self` lives.
        let cell = unsafe { &*cell };
        let len = usize::try_from(cell.len).ok()?;
        // SAFETY: a length that is not negative comes with bytes that the owner keeps while `self` lives.
        Some(unsafe { slice::from_raw_parts(cell.ptr, len) })
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        if let Some(drop) = self.drop {
            // SAFETY: called once, with the owner that belongs to it.
            unsafe { drop(self.owner) };
        }
    }
}

/// Appends a parameter to a buffer of parameters; `None` is null.
///
/// Returns false, and appends nothing, when it is larger than Postgres takes.
pub fn push_param(buffer: &mut Vec<u8>, oid: u32, value: Option<&[u8]>) -> bool {
    let Ok(len) = value.map_or(Ok(-1), |value| i32::try_from(value.len())) else {
        return false;
    };
    buffer.extend_from_slice(&oid.to_le_bytes());
    buffer.extend_from_slice(&len.to_le_bytes());
    buffer.extend_from_slice(value.unwrap_or_default());
    true
}

/// The parameters of a buffer: type and bytes.
pub fn params(buffer: &[u8]) -> Params<'_> {
    Params {
        rest: buffer,
        marker: PhantomData,
    }
}

/// Iterator over a buffer of parameters; ends early at the first that does not fit into the buffer.
#[derive(Clone)]
pub struct Params<'a> {
    rest: &'a [u8],
    marker: PhantomData<&'a ()>,
}

impl<'a> Iterator for Params<'a> {
    type Item = (u32, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let (oid, rest) = self.rest.split_first_chunk::<4>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (value, rest) = match usize::try_from(i32::from_le_bytes(*len)) {
            Ok(len) => rest
                .split_at_checked(len)
                .map(|(value, rest)| (Some(value), rest))?,
            Err(_) => (None, rest),
        };
        self.rest = rest;
        Some((u32::from_le_bytes(*oid), value))
    }
}

layout!(COLUMN: Column<'static> {
    name: Str<'static>,
    oid: u32,
});
layout!(CELL: Cell {
    ptr: *const u8,
    len: isize,
});
layout!(ROWS: Rows {
    columns: *const Column<'static>,
    column_count: usize,
    cells: *const Cell,
    row_count: usize,
    owner: *mut (),
    drop: Option<unsafe extern "C" fn(*mut ())>,
});

#[cfg(test)]
mod tests {
    use super::*;

    struct Two(Vec<Vec<u8>>);

    impl RowSource for Two {
        fn row_count(&self) -> usize {
            self.0.len()
        }

        fn column_count(&self) -> usize {
            2
        }

        fn column(&self, column: usize) -> (&str, u32) {
            [("a", 25), ("b", 20)][column]
        }

        fn cell(&self, row: usize, column: usize) -> Option<&[u8]> {
            (column == 0).then(|| self.0[row].as_slice())
        }
    }

    #[test]
    fn rows_are_read_in_place() {
        let rows = Rows::new(Two(vec![b"x".to_vec(), Vec::new()]));
        assert_eq!(rows.len(), 2);
        assert_eq!(rows.columns()[1].name.as_str(), "b");
        assert_eq!(rows.cell(0, 0), Some(&b"x"[..]));
        assert_eq!(rows.cell(1, 0), Some(&b""[..]));
        assert_eq!(rows.cell(0, 1), None);
        assert_eq!(rows.cell(2, 0), None);
    }

    #[test]
    fn parameters_read_back() {
        let mut buffer = Vec::new();
        assert!(push_param(&mut buffer, 25, Some(b"x")));
        assert!(push_param(&mut buffer, 20, None));
        assert_eq!(
            params(&buffer).collect::<Vec<_>>(),
            [(25, Some(&b"x"[..])), (20, None)]
        );
        assert_eq!(params(&buffer[..buffer.len() - 1]).count(), 1);
    }
}

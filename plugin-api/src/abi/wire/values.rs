//! How each type of the boundary crosses as bytes.

use super::{Garbled, Reader, Writer};
use crate::abi::{
    bytes::{Bytes, OptBytes, Slice, Str},
    capability::{
        db::{RowSource, Rows},
        hub::Frame,
        kv::Take,
    },
    entry::RawHandle,
    error::{Error, Outcome},
    response::Message,
};

use std::sync::Arc;

/// A value that can be passed on.
pub trait Wire: Sized {
    /// Writes it.
    fn send(self, out: Writer) -> Writer;
    /// Reads it.
    ///
    /// # Errors
    ///
    /// [`Garbled`].
    fn receive(input: &mut Reader) -> Result<Self, Garbled>;
}

/// An argument of a call, which may be lent for it.
pub trait Argument<'a>: Sized {
    /// What is lent, while the call lasts.
    type Kept: 'a;
    /// Writes it.
    fn pass(self, out: Writer) -> Writer;
    /// Reads what will be lent.
    ///
    /// # Errors
    ///
    /// [`Garbled`].
    fn keep(input: &mut Reader) -> Result<Self::Kept, Garbled>;
    /// Lends it, once.
    fn lend(kept: &'a mut Self::Kept) -> Self;
}

impl<'a, T: Wire + 'a> Argument<'a> for T {
    type Kept = Option<T>;

    fn pass(self, out: Writer) -> Writer {
        self.send(out)
    }

    fn keep(input: &mut Reader) -> Result<Self::Kept, Garbled> {
        T::receive(input).map(Some)
    }

    fn lend(kept: &'a mut Self::Kept) -> Self {
        kept.take().expect("it is lent once")
    }
}

/// What a call that waits on its thread comes to.
pub trait Answer: Wire + Default {
    /// When it does not come: the other side is gone.
    fn failed(_: Error) -> Self {
        Self::default()
    }
}

impl<'a> Argument<'a> for Str<'a> {
    type Kept = Option<::bytes::Bytes>;

    fn pass(self, out: Writer) -> Writer {
        out.optional(self.bytes())
    }

    fn keep(input: &mut Reader) -> Result<Self::Kept, Garbled> {
        input.optional()
    }

    fn lend(kept: &'a mut Self::Kept) -> Self {
        kept.as_deref().map_or_else(Str::none, Str::from_bytes)
    }
}

impl<'a> Argument<'a> for Slice<'a, u8> {
    type Kept = ::bytes::Bytes;

    fn pass(self, out: Writer) -> Writer {
        out.bytes(self.as_slice())
    }

    fn keep(input: &mut Reader) -> Result<Self::Kept, Garbled> {
        input.bytes()
    }

    fn lend(kept: &'a mut Self::Kept) -> Self {
        Slice::new(kept)
    }
}

impl<'a> Argument<'a> for Slice<'a, Str<'a>> {
    type Kept = (Vec<::bytes::Bytes>, Vec<Str<'a>>);

    fn pass(self, out: Writer) -> Writer {
        let texts = self.as_slice();
        let out = out.with(u32::try_from(texts.len()).unwrap_or(u32::MAX));
        texts
            .iter()
            .fold(out, |out, text| out.bytes(text.bytes().unwrap_or_default()))
    }

    fn keep(input: &mut Reader) -> Result<Self::Kept, Garbled> {
        let count = input.count()?;
        let texts: Result<_, _> = (0..count).map(|_| input.bytes()).collect();
        Ok((texts?, Vec::new()))
    }

    fn lend(kept: &'a mut Self::Kept) -> Self {
        let (texts, lent) = kept;
        lent.extend(texts.iter().map(|text| Str::from_bytes(text)));
        Slice::new(lent)
    }
}

macro_rules! numbers {
    ($($Number:ty),*) => {
        $(
            impl Wire for $Number {
                fn send(self, out: Writer) -> Writer {
                    out.raw(&self.to_le_bytes())
                }

                fn receive(input: &mut Reader) -> Result<Self, Garbled> {
                    input.raw().map(Self::from_le_bytes)
                }
            }

            impl Answer for $Number {}
        )*
    };
}

numbers!(u16, u32, u64, i64, f64);

impl Wire for () {
    fn send(self, out: Writer) -> Writer {
        out
    }

    fn receive(_: &mut Reader) -> Result<Self, Garbled> {
        Ok(())
    }
}

impl Wire for Bytes {
    fn send(self, out: Writer) -> Writer {
        out.bytes(self.as_slice())
    }

    fn receive(input: &mut Reader) -> Result<Self, Garbled> {
        input.bytes().map(Self::from)
    }
}

impl Answer for Bytes {}

impl Wire for OptBytes {
    fn send(self, out: Writer) -> Writer {
        let bytes: Option<Bytes> = self.into();
        out.optional(bytes.as_ref().map(Bytes::as_slice))
    }

    fn receive(input: &mut Reader) -> Result<Self, Garbled> {
        let bytes = input.optional()?;
        Ok(bytes.map(Bytes::from).into())
    }
}

impl Wire for Error {
    fn send(self, out: Writer) -> Writer {
        out.with(self.kind)
            .with(self.status)
            .with(self.retry_after_ms)
            .with(self.code)
            .with(self.message)
            .with(self.details)
            .with(self.cause)
    }

    fn receive(input: &mut Reader) -> Result<Self, Garbled> {
        Ok(Self {
            kind: Wire::receive(input)?,
            status: Wire::receive(input)?,
            retry_after_ms: Wire::receive(input)?,
            code: Wire::receive(input)?,
            message: Wire::receive(input)?,
            details: Wire::receive(input)?,
            cause: Wire::receive(input)?,
        })
    }
}

impl<T: Wire> Wire for Outcome<T> {
    fn send(self, out: Writer) -> Writer {
        match self.into_result() {
            Ok(value) => out.raw(&[1]).with(value),
            Err(error) => out.raw(&[0]).with(error),
        }
    }

    fn receive(input: &mut Reader) -> Result<Self, Garbled> {
        let result = match input.raw()? {
            [1] => Ok(T::receive(input)?),
            [0] => Err(Error::receive(input)?),
            _ => return Err(Garbled),
        };
        Ok(result.into())
    }
}

impl<T: Wire> Answer for Outcome<T> {
    fn failed(error: Error) -> Self {
        Err(error).into()
    }
}

/// A handle whose type only its receiver knows does not cross; what is found by an id is asked for in another way there.
impl Wire for RawHandle {
    fn send(self, out: Writer) -> Writer {
        out
    }

    fn receive(_: &mut Reader) -> Result<Self, Garbled> {
        Ok(Self::default())
    }
}

impl Answer for RawHandle {}

impl Wire for Take {
    fn send(self, out: Writer) -> Writer {
        out.with(self.allowed)
            .with(self.remaining)
            .with(self.retry_ms)
    }

    fn receive(input: &mut Reader) -> Result<Self, Garbled> {
        Ok(Self {
            allowed: Wire::receive(input)?,
            remaining: Wire::receive(input)?,
            retry_ms: Wire::receive(input)?,
        })
    }
}

impl Wire for Message {
    fn send(self, out: Writer) -> Writer {
        out.with(self.kind).with(self.code).with(self.data)
    }

    fn receive(input: &mut Reader) -> Result<Self, Garbled> {
        Ok(Self {
            kind: Wire::receive(input)?,
            code: Wire::receive(input)?,
            data: Wire::receive(input)?,
        })
    }
}

/// Its bytes cross each time that it does.
impl Wire for Frame {
    fn send(self, out: Writer) -> Writer {
        out.bytes(self.as_slice())
    }

    fn receive(input: &mut Reader) -> Result<Self, Garbled> {
        Ok(Self::new(Arc::new(input.bytes()?)))
    }
}

impl Wire for Rows {
    fn send(self, out: Writer) -> Writer {
        let columns = self.columns();
        let out = out.with(u32::try_from(columns.len()).unwrap_or(u32::MAX));
        let out = columns.iter().fold(out, |out, column| {
            out.optional(column.name.bytes()).with(column.oid)
        });
        let out = out.with(u32::try_from(self.len()).unwrap_or(u32::MAX));
        (0..self.len()).fold(out, |out, row| {
            let cells = (0..columns.len()).map(|column| self.cell(row, column));
            cells.fold(out.raw(&[ROW]), Writer::optional)
        })
    }

    fn receive(input: &mut Reader) -> Result<Self, Garbled> {
        let columns: Result<Vec<_>, Garbled> = (0..input.count()?)
            .map(|_| {
                let name = input.optional()?.unwrap_or_default();
                let name = String::from_utf8(name.into()).map_err(|_| Garbled)?;
                Ok((name, u32::receive(input)?))
            })
            .collect();
        let columns = columns?;
        let row_count = input.count()?;
        let mut cells = Vec::new();
        for _ in 0..row_count {
            let [ROW] = input.raw()? else {
                return Err(Garbled);
            };
            for _ in &columns {
                cells.push(input.optional()?);
            }
        }
        Ok(Self::new(Received {
            columns,
            row_count,
            cells,
        }))
    }
}

/// What each row begins with. Rows without columns have nothing else, and are no more than the message has bytes.
const ROW: u8 = b'r';

/// Rows that came in a message, and point into it.
struct Received {
    columns: Vec<(String, u32)>,
    row_count: usize,
    cells: Vec<Option<::bytes::Bytes>>,
}

impl RowSource for Received {
    fn row_count(&self) -> usize {
        self.row_count
    }

    fn column_count(&self) -> usize {
        self.columns.len()
    }

    fn column(&self, column: usize) -> (&str, u32) {
        let (name, oid) = &self.columns[column];
        (name, *oid)
    }

    fn cell(&self, row: usize, column: usize) -> Option<&[u8]> {
        self.cells[row * self.columns.len() + column].as_deref()
    }
}

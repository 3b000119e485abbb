//! Records that end with their line.

use nself_plugin_api::prelude::*;

use super::records::{RECORD_BYTES_MAX, too_long};

/// The records that have not been taken yet.
pub(crate) struct Lines {
    /// Whether a quoted field may go on over lines.
    has_quotes: bool,
    buffer: Vec<u8>,
    /// How far the buffer was looked through, and whether a quoted field is open there.
    seen: usize,
    is_quoted: bool,
}

impl Lines {
    pub(super) const fn new(has_quotes: bool) -> Self {
        Self {
            has_quotes,
            buffer: Vec::new(),
            seen: 0,
            is_quoted: false,
        }
    }

    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole record; after the last chunk (`is_end`) also what has no line end.
    pub(super) fn next(&mut self, is_end: bool) -> Result<Option<Vec<u8>>> {
        while let Some(byte) = self.buffer.get(self.seen) {
            match byte {
                // Two quotes within a quoted field close it and open it again.
                b'"' if self.has_quotes => self.is_quoted = !self.is_quoted,
                b'\n' if !self.is_quoted => return Ok(Some(self.take(self.seen + 1))),
                _ => {}
            }
            self.seen += 1;
            if self.seen > RECORD_BYTES_MAX {
                return Err(too_long());
            }
        }
        Ok((is_end && !self.buffer.is_empty()).then(|| self.take(self.buffer.len())))
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(length);
        self.seen = 0;
        self.is_quoted = false;
        std::mem::replace(&mut self.buffer, rest)
    }
}

//! Cuts a body that comes in chunks into records.

use nself_plugin_api::prelude::*;

/// Longest record.
const RECORD_BYTES_MAX: usize = 64 * 1024;

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A JSON object per line.
    Lines,
    /// Comma-separated values (RFC 4180) under a line of names.
    Csv,
}

/// The records that have not been taken yet.
pub(crate) struct Records {
    format: Format,
    buffer: Vec<u8>,
    /// How far the buffer was looked through, and whether a quoted field is open there.
    seen: usize,
    is_quoted: bool,
}

impl Records {
    pub(crate) const fn new(format: Format) -> Self {
        Self {
            format,
            buffer: Vec::new(),
            seen: 0,
            is_quoted: false,
        }
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole record; after the last chunk (`is_end`) also what has no line end.
    pub(crate) fn next(&mut self, is_end: bool) -> Result<Option<Vec<u8>>> {
        while let Some(byte) = self.buffer.get(self.seen) {
            match byte {
                // Two quotes within a quoted field close it and open it again.
                b'"' if self.format == Format::Csv => self.is_quoted = !self.is_quoted,
                b'\n' if !self.is_quoted => return Ok(Some(self.take(self.seen + 1))),
                _ => {}
            }
            self.seen += 1;
            if self.seen > RECORD_BYTES_MAX {
                return Err(Error::invalid(
                    "IMPORT_INVALID",
                    format!("a row is longer than {RECORD_BYTES_MAX} bytes; is a quote open?"),
                ));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: Format, text: &str, expected: &[&str]) {
        // Whatever the chunks are, the records are the same.
        for size in [1, 3, 1000] {
            let mut records = Records::new(format);
            let mut found = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                records.push(chunk);
                while let Some(record) = records.next(false).expect("no record is too long") {
                    found.push(String::from_utf8(record).expect("it was text"));
                }
            }
            while let Some(record) = records.next(true).expect("no record is too long") {
                found.push(String::from_utf8(record).expect("it was text"));
            }
            assert_eq!(found, expected, "in chunks of {size}");
        }
    }

    #[test]
    fn a_record_is_a_line_unless_a_quoted_field_goes_on() {
        check(Format::Lines, "a\nb\n", &["a\n", "b\n"]);
        check(Format::Lines, "{\"a\"\n\"", &["{\"a\"\n", "\""]);
        check(
            Format::Csv,
            "a,\"b\nc\"\r\nd,\"\"\"\n\"",
            &["a,\"b\nc\"\r\n", "d,\"\"\"\n\""],
        );
        check(Format::Csv, "", &[]);
    }

    #[test]
    fn a_record_has_a_limit() {
        let mut records = Records::new(Format::Csv);
        records.push(&vec![b'x'; RECORD_BYTES_MAX + 1]);
        assert!(records.next(false).is_err());
    }
}

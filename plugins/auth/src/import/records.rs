//! Cuts a body that comes in chunks into records.

use nself_plugin_api::prelude::*;

use super::{json::Rows, lines::Lines};

/// Longest record.
pub(super) const RECORD_BYTES_MAX: usize = 64 * 1024;

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A JSON object per line.
    Lines,
    /// A JSON array of objects, or an object with one.
    Json,
    /// Comma-separated values (RFC 4180) under a line of names.
    Csv,
}

/// The records that have not been taken yet.
pub(crate) enum Records {
    Lines(Lines),
    Json(Rows),
}

impl Records {
    pub(crate) fn new(format: Format) -> Self {
        match format {
            Format::Lines => Self::Lines(Lines::new(false)),
            Format::Csv => Self::Lines(Lines::new(true)),
            Format::Json => Self::Json(Rows::default()),
        }
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) {
        match self {
            Self::Lines(lines) => lines.push(chunk),
            Self::Json(rows) => rows.push(chunk),
        }
    }

    /// The next whole record; after the last chunk (`is_end`) also what is left.
    ///
    /// # Errors
    ///
    /// `IMPORT_INVALID` where nothing can be cut.
    pub(crate) fn next(&mut self, is_end: bool) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Lines(lines) => lines.next(is_end),
            Self::Json(rows) => rows.next(is_end),
        }
    }
}

pub(super) fn too_long() -> Error {
    Error::invalid(
        "IMPORT_INVALID",
        format!("a row is longer than {RECORD_BYTES_MAX} bytes; is a quote open?"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the chunks are, the records are the same.
    #[track_caller]
    fn check(format: Format, text: &str, expected: &[&str]) {
        for size in [1, 3, 1000] {
            assert_eq!(
                cut(format, text, size).expect("it can be cut"),
                expected,
                "in chunks of {size}"
            );
        }
    }

    fn cut(format: Format, text: &str, size: usize) -> Result<Vec<String>> {
        let mut records = Records::new(format);
        let mut found = Vec::new();
        let mut take = |records: &mut Records, is_end| -> Result<()> {
            while let Some(record) = records.next(is_end)? {
                found.push(String::from_utf8(record).expect("it was text"));
            }
            Ok(())
        };
        for chunk in text.as_bytes().chunks(size) {
            records.push(chunk);
            take(&mut records, false)?;
        }
        take(&mut records, true)?;
        Ok(found)
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
    fn rows_of_a_json_file_are_what_its_array_has() {
        check(Format::Json, "[]", &[]);
        check(
            Format::Json,
            "\u{feff}[\n {\"a\": \"]}\\\"\", \"b\": [{}]},\r\n {\"c\": 1} ]\n",
            &["{\"a\": \"]}\\\"\", \"b\": [{}]}", "{\"c\": 1}"],
        );
        // What is no object is a row that is refused later, with its number.
        check(
            Format::Json,
            "[1, \"a,b\", null,[{}],{}]",
            &["1", "\"a,b\"", "null", "[{}]", "{}"],
        );
        check(
            Format::Json,
            "{\"kind\": \"k\", \"hash_config\": {\"rounds\": 8}, \"users\": [{\"email\": \"a\"}], \"aud\": [\"users\", [{}]]}",
            &["{\"hash_config\":{\"rounds\": 8}}", "{\"email\": \"a\"}"],
        );
        // A name may be written with escapes; users of somebody deeper down are not meant.
        check(
            Format::Json,
            "{\"more\": {\"users\": [{\"a\": 1}]}, \"\\u0075sers\": [{\"b\": 2}]}",
            &["{\"b\": 2}"],
        );
    }

    #[test]
    fn a_json_file_that_has_no_rows_or_is_cut_off_is_told() {
        for text in [
            "",
            " \n",
            "null",
            "\"users\"",
            "{}",
            "{\"users\": {}}",
            "{\"people\": []}",
            "[",
            "[{\"a\": 1},",
            "{\"users\": [{\"a\": 1}]",
            "{\"users\": [{\"a\": 1}",
            "[] []",
            "{\"a\" 1}x",
        ] {
            for size in [1, 1000] {
                let refused = cut(Format::Json, text, size).expect_err(text);
                assert_eq!(refused.code(), "IMPORT_INVALID", "{text}");
            }
        }
    }

    #[test]
    fn a_record_has_a_limit() {
        for (format, begin) in [
            (Format::Csv, ""),
            (Format::Json, "[\""),
            (Format::Json, "{\"a\":"),
        ] {
            let text = format!("{begin}{}", "x".repeat(RECORD_BYTES_MAX + 1));
            assert!(cut(format, &text, 1000).is_err(), "{begin}");
        }
    }
}

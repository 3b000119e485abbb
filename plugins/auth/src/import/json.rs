//! Rows of a JSON file: the objects of the array that it is (Supabase, Nhost: `select json_agg(..)`), or of the array `users`
//! in the object that it is (Firebase: `auth:export users.json`).
//!
//! Such a file is one value of many megabytes; it is read as it comes, and never stands in memory whole. Here it is only
//! seen where a value ends; whether it is JSON is found out when it is read.

use nself_plugin_api::{prelude::*, serde_json};

use super::records::{RECORD_BYTES_MAX, too_long};

/// The field with the rows, where the file is an object.
const ROWS: &str = "users";

/// The field that says how the hashes of all rows were made: a record of its own.
const PARAMETERS: &str = "hash_config";

/// What has not been taken yet, and where that is in the file.
#[derive(Default)]
pub(crate) struct Rows {
    buffer: Vec<u8>,
    /// How far the buffer was taken, and how far it was looked through.
    taken: usize,
    seen: usize,
    place: Place,
    /// The value that begins where the buffer was taken to.
    value: Option<Value>,
    /// The name of the field whose value comes next.
    name: String,
    /// Whether the rows are a field of an object.
    is_field: bool,
    /// Whether there was an array of rows, with or without any.
    is_found: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    #[default]
    Before,
    /// In the object, before a name.
    Fields,
    /// Between a name and its value.
    Field,
    /// In the array, before a row.
    Rows,
    After,
}

impl Rows {
    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.buffer.drain(..self.taken);
        self.seen -= self.taken;
        self.taken = 0;
        self.buffer.extend_from_slice(chunk);
    }

    pub(super) fn next(&mut self, is_end: bool) -> Result<Option<Vec<u8>>> {
        while let Some(byte) = self.buffer.get(self.seen).copied() {
            self.seen += 1;
            let Some(value) = &mut self.value else {
                let begins = self.go_on(byte)?;
                self.taken = if begins { self.seen - 1 } else { self.seen };
                continue;
            };
            match value.take(byte) {
                Took::More if self.seen - self.taken > RECORD_BYTES_MAX => return Err(too_long()),
                Took::More => continue,
                Took::Last => {}
                // It is looked at again, as what stands between two values.
                Took::Nothing => self.seen -= 1,
            }
            if let Some(record) = self.end_value()? {
                return Ok(Some(record));
            }
        }
        let is_whole = self.place == Place::After && self.is_found;
        if is_end && !is_whole {
            return Err(no_rows());
        }
        Ok(None)
    }

    /// Goes over a byte between values; whether a value begins with it.
    fn go_on(&mut self, byte: u8) -> Result<bool> {
        let is_blank = byte.is_ascii_whitespace();
        self.place = match (self.place, byte) {
            // A mark of the order of bytes, which some programs write.
            (Place::Before, 0xef | 0xbb | 0xbf) => Place::Before,
            (Place::Before, b'[') => self.rows(false),
            (Place::Before, b'{') => Place::Fields,
            (Place::Rows, b']') if self.is_field => Place::Fields,
            (Place::Fields, b'}') | (Place::Rows, b']') => Place::After,
            (Place::Field, b'[') if self.name == ROWS => self.rows(true),
            (Place::Fields | Place::Rows, b',') | (Place::Field, b':') => self.place,
            (place, _) if is_blank => place,
            (Place::Fields, b'"') | (Place::Field | Place::Rows, _) => {
                self.value = Some(Value::begin(byte));
                return Ok(true);
            }
            _ => return Err(no_rows()),
        };
        Ok(false)
    }

    fn rows(&mut self, is_field: bool) -> Place {
        self.is_field = is_field;
        self.is_found = true;
        Place::Rows
    }

    /// What the value was that ends here: a record, or something on the way.
    fn end_value(&mut self) -> Result<Option<Vec<u8>>> {
        let value = &self.buffer[self.taken..self.seen];
        self.taken = self.seen;
        self.value = None;
        match self.place {
            Place::Rows => return Ok(Some(value.to_vec())),
            Place::Fields => {
                self.name = serde_json::from_slice(value).map_err(|_| no_rows())?;
                self.place = Place::Field;
            }
            _ => {
                self.place = Place::Fields;
                if self.name == PARAMETERS {
                    let name = format!("{{\"{PARAMETERS}\":");
                    return Ok(Some([name.as_bytes(), value, b"}"].concat()));
                }
            }
        }
        Ok(None)
    }
}

fn no_rows() -> Error {
    Error::invalid(
        "IMPORT_INVALID",
        "expected a whole JSON array of accounts, or an object whose `users` is one",
    )
}

/// A value of which some bytes were seen.
struct Value {
    depth: usize,
    is_text: bool,
    is_escaped: bool,
}

/// Whether a byte belongs to a value.
enum Took {
    More,
    Last,
    /// It ended before.
    Nothing,
}

impl Value {
    fn begin(byte: u8) -> Self {
        Self {
            depth: usize::from(matches!(byte, b'{' | b'[')),
            is_text: byte == b'"',
            is_escaped: false,
        }
    }

    const fn take(&mut self, byte: u8) -> Took {
        if self.is_text {
            let is_end = byte == b'"' && !self.is_escaped;
            self.is_escaped = byte == b'\\' && !self.is_escaped;
            self.is_text = !is_end;
            return self.so_far(is_end);
        }
        match byte {
            b',' | b':' | b'}' | b']' if self.depth == 0 => return Took::Nothing,
            _ if self.depth == 0 && byte.is_ascii_whitespace() => return Took::Nothing,
            b'"' => self.is_text = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth -= 1;
                return self.so_far(true);
            }
            _ => {}
        }
        Took::More
    }

    const fn so_far(&self, is_part_whole: bool) -> Took {
        if is_part_whole && self.depth == 0 {
            Took::Last
        } else {
            Took::More
        }
    }
}

//! Protocol Buffers, as far as OTLP needs them: messages are written field by field, and one kind of answer is read.
//!
//! Written here because the official messages come with code for each of their fields, and a compiler's run for their
//! derives, where some twenty fields are ever used. The tests read what this writes with those, and nothing is left over.

/// The wire's types of fields.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED32: u32 = 5;

/// A message that is being written. Fields come in the order of their numbers, and without those that have the value which an
/// absent one means.
#[derive(Debug, Clone, Default)]
pub(in crate::telemetry) struct Message(Vec<u8>);

/// A value of an attribute.
#[derive(Debug, Clone, Copy)]
pub(in crate::telemetry) enum Value<'a> {
    Text(&'a str),
    Number(i64),
}

impl Message {
    pub(in crate::telemetry) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(in crate::telemetry) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }

    fn tag(&mut self, field: u32, wire_type: u32) {
        self.varint(u64::from(field << 3 | wire_type));
    }

    /// An integer, a truth value or a word of an enumeration.
    pub(in crate::telemetry) fn number(&mut self, field: u32, value: u64) -> &mut Self {
        if value != 0 {
            self.tag(field, VARINT);
            self.varint(value);
        }
        self
    }

    pub(in crate::telemetry) fn fixed64(&mut self, field: u32, value: u64) -> &mut Self {
        if value != 0 {
            self.tag(field, FIXED64);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
        self
    }

    pub(in crate::telemetry) fn fixed32(&mut self, field: u32, value: u32) -> &mut Self {
        if value != 0 {
            self.tag(field, FIXED32);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
        self
    }

    /// A float that is told from an absent one.
    pub(in crate::telemetry) fn double(&mut self, field: u32, value: f64) -> &mut Self {
        self.tag(field, FIXED64);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Text or bytes.
    pub(in crate::telemetry) fn bytes(&mut self, field: u32, value: &[u8]) -> &mut Self {
        if value.is_empty() {
            return self;
        }
        self.message(field, value)
    }

    /// Something with a length that is told from an absent one, such as another message.
    pub(in crate::telemetry) fn message(&mut self, field: u32, content: &[u8]) -> &mut Self {
        self.tag(field, LENGTH);
        self.varint(content.len() as u64);
        self.0.extend_from_slice(content);
        self
    }

    /// Numbers of eight bytes each, packed.
    pub(in crate::telemetry) fn packed(
        &mut self,
        field: u32,
        numbers: impl ExactSizeIterator<Item = [u8; 8]>,
    ) -> &mut Self {
        if numbers.len() == 0 {
            return self;
        }
        self.tag(field, LENGTH);
        self.varint(numbers.len() as u64 * 8);
        numbers.for_each(|number| self.0.extend_from_slice(&number));
        self
    }

    /// Fields that are written already.
    pub(in crate::telemetry) fn append(&mut self, fields: &Self) -> &mut Self {
        self.0.extend_from_slice(&fields.0);
        self
    }

    /// A `KeyValue`.
    pub(in crate::telemetry) fn attribute(
        &mut self,
        field: u32,
        key: &str,
        value: Value<'_>,
    ) -> &mut Self {
        let mut any = Self::default();
        match value {
            Value::Text(text) => any.message(1, text.as_bytes()),
            Value::Number(number) => {
                any.tag(3, VARINT);
                // Two's complement: a negative one has ten bytes.
                any.varint(u64::from_le_bytes(number.to_le_bytes()));
                &mut any
            }
        };
        let mut pair = Self::default();
        pair.bytes(1, key.as_bytes()).message(2, &any.0);
        self.message(field, &pair.0)
    }
}

impl std::ops::Deref for Message {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// What a collector did not take of what it was sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::telemetry) struct Partial {
    /// Spans or data points.
    pub(in crate::telemetry) rejected: u64,
    /// Why, or what it wants to be known.
    pub(in crate::telemetry) message: String,
}

/// Reads an `Export…ServiceResponse`; nothing when it is none.
pub(in crate::telemetry) fn partial_success(answer: &[u8]) -> Option<Partial> {
    let mut partial = Partial::default();
    for (field, content) in fields(answer)? {
        let (1, Content::Bytes(message)) = (field, content) else {
            continue;
        };
        for (field, content) in fields(message)? {
            match (field, content) {
                (1, Content::Number(rejected)) => partial.rejected = rejected,
                (2, Content::Bytes(text)) => {
                    std::str::from_utf8(text)
                        .ok()?
                        .clone_into(&mut partial.message);
                }
                _ => {}
            }
        }
    }
    Some(partial)
}

enum Content<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn fields(mut rest: &[u8]) -> Option<Vec<(u64, Content<'_>)>> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let tag = read_varint(&mut rest)?;
        let content = match u32::try_from(tag & 7).ok()? {
            VARINT => Content::Number(read_varint(&mut rest)?),
            FIXED64 => Content::Bytes(rest.split_off(..8)?),
            FIXED32 => Content::Bytes(rest.split_off(..4)?),
            LENGTH => {
                let length = usize::try_from(read_varint(&mut rest)?).ok()?;
                Content::Bytes(rest.split_off(..length)?)
            }
            _ => return None,
        };
        fields.push((tag >> 3, content));
    }
    Some(fields)
}

fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_or_is_none() {
        let mut inner = Message::default();
        inner.number(1, 300).bytes(2, b"too old").number(9, 1);
        let mut answer = Message::default();
        answer.message(1, &inner).fixed64(7, 1).fixed32(8, 1);
        let expected = Partial {
            rejected: 300,
            message: "too old".to_owned(),
        };
        assert_eq!(partial_success(&answer), Some(expected));
        assert_eq!(partial_success(b""), Some(Partial::default()));
        for garbled in [
            &b"<html>not here</html>"[..],
            b"{\"partialSuccess\":{}}",
            &answer[..answer.len() - 1],
            b"\x0a\x05ab",
            &[0xff; 20],
            b"\x0a\x03\x12\x01\xff",
        ] {
            assert_eq!(partial_success(garbled), None, "{garbled:?}");
        }
    }

    #[test]
    fn numbers_have_as_many_bytes_as_they_need() {
        let written = |value| {
            let mut message = Message::default();
            message.number(1, value);
            message.into_bytes()
        };
        assert_eq!(written(0), b"", "an absent one means it");
        assert_eq!(written(127), b"\x08\x7f");
        assert_eq!(written(128), b"\x08\x80\x01");
        assert_eq!(written(u64::MAX).len(), 11);
    }
}

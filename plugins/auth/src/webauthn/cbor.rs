//! CBOR (RFC 8949), as far as authenticators write it.

use ciborium::Value;

use super::Refusal;

/// Deepest nesting of what is read: an attestation object has four levels.
const DEPTH_MAX: usize = 8;

/// Reads one value and leaves what follows it.
pub(super) fn read(bytes: &mut &[u8]) -> Result<Value, Refusal> {
    ciborium::de::from_reader_with_recursion_limit(bytes, DEPTH_MAX).map_err(|_| Refusal::Cbor)
}

/// Reads a value that nothing follows.
pub(super) fn read_whole(mut bytes: &[u8]) -> Result<Value, Refusal> {
    let value = read(&mut bytes)?;
    if bytes.is_empty() {
        Ok(value)
    } else {
        Err(Refusal::Cbor)
    }
}

/// What a map has under a key. A key that is there twice is not there: two readers could see two different values.
pub(super) fn get<'a>(map: &'a Value, key: &Value) -> Option<&'a Value> {
    let mut found = map.as_map()?.iter().filter(|(name, _)| name == key);
    let (_, value) = found.next()?;
    found.next().is_none().then_some(value)
}

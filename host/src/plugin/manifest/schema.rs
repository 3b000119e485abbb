//! JSON Schemas of a manifest.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Value, value::RawValue};

/// A JSON Schema as its plugin wrote it.
///
/// It stays text, and copies share it: a plugin of many routes has thousands of objects in its schemas, each of which would be
/// a map, and they are looked at for the API reference, for GraphQL and by tests only.
#[derive(Debug, Clone)]
pub struct Schema(Arc<RawValue>);

impl Schema {
    /// The document.
    pub fn read(&self) -> Value {
        serde_json::from_str(self.0.get()).expect("it was read before it was kept")
    }
}

impl From<Value> for Schema {
    fn from(document: Value) -> Self {
        let text = serde_json::value::to_raw_value(&document);
        Self(text.expect("a value can be written as JSON").into())
    }
}

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        // What nests too deeply to be read is refused here, as in the rest of the manifest.
        serde_json::from_str::<Value>(text.get()).map_err(D::Error::custom)?;
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_is_what_was_written_by_whatever_way_it_comes() {
        let document = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        let read = |schema: Schema| (schema.read(), serde_json::to_value(&schema).expect("JSON"));
        let expected = (document.clone(), document.clone());
        assert_eq!(read(document.clone().into()), expected);
        let text = document.to_string();
        assert_eq!(read(serde_json::from_str(&text).expect("JSON")), expected);
        assert_eq!(
            read(serde_json::from_value(document).expect("JSON")),
            expected
        );
    }

    #[test]
    fn one_that_cannot_be_read_is_refused_when_it_comes() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        serde_json::from_str::<Schema>(&deep).expect_err("it nests too deeply");
    }
}

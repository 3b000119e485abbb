//! Small documents and texts whose readers are public.

use jiff::Timestamp;

use crate::{
    catalogue::Index,
    hasura::fragment::Fragment,
    http::TraceContext,
    minisign::{PublicKey, Signature},
};

/// An index that is believed is the same one when it is written and read again.
pub(super) fn index(data: &[u8]) {
    let now = Timestamp::UNIX_EPOCH;
    if let Ok(index) = Index::read(data, now) {
        let written = serde_json::to_vec(&index).expect("an index can be written");
        let again = Index::read(&written, now).expect("what was written reads");
        assert_eq!(again, index);
    }
}

/// A plugin speaks of its own tables alone.
pub(super) fn fragment(data: &[u8]) {
    let Ok(yaml) = str::from_utf8(data) else {
        return;
    };
    if let Ok(fragment) = Fragment::read("notes", "notes.yaml", yaml) {
        assert_eq!(fragment.table.schema, "notes");
    }
}

/// A signature or a key that reads is written as one that reads as the same.
pub(super) fn signature(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    if let Ok(signature) = text.parse::<Signature>() {
        assert_eq!(signature.to_string().parse(), Ok(signature));
    }
    if let Ok(key) = text.parse::<PublicKey>() {
        assert_eq!(key.to_string().parse(), Ok(key));
    }
}

/// A context that reads is written as one that reads as the same.
pub(super) fn traceparent(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    if let Some(context) = TraceContext::parse(text) {
        assert_eq!(TraceContext::parse(&context.to_string()), Some(context));
    }
}

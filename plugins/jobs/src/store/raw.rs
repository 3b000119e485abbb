//! JSON that passes through as text: neither read nor written again between the database and a handler.

use std::error::Error;

use nself_plugin_api::{
    bytes::{BufMut, Bytes, BytesMut},
    capability::db::{Param, Typed},
    postgres_types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};

/// The version that a `jsonb` begins with on the wire.
const VERSION: u8 = 1;

/// A `jsonb` as its text, in place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'a>(pub &'a [u8]);

impl Raw<'_> {
    /// A copy that outlives the row.
    pub(crate) fn to_bytes(self) -> Bytes {
        Bytes::copy_from_slice(self.0)
    }
}

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        match raw {
            [VERSION, text @ ..] => Ok(Self(text)),
            _ => Err("a jsonb of an unknown version".into()),
        }
    }

    fn accepts(sql_type: &Type) -> bool {
        *sql_type == Type::JSONB
    }
}

impl ToSql for Raw<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_u8(VERSION);
        out.extend_from_slice(self.0);
        Ok(IsNull::No)
    }

    fn accepts(sql_type: &Type) -> bool {
        *sql_type == Type::JSONB
    }

    to_sql_checked!();
}

/// A list of JSON texts as a parameter; what is empty is null.
pub(crate) fn list<'a>(texts: impl Iterator<Item = &'a [u8]>) -> impl Param + Sync {
    let texts: Vec<Option<Raw<'a>>> = texts
        .map(|text| (!text.is_empty()).then_some(Raw(text)))
        .collect();
    Typed(texts, Type::JSONB_ARRAY)
}

//! Parameters: encoded here, in Postgres' binary format, with the type that the plugin names.

use bytes::BytesMut;
use postgres_types::{IsNull, ToSql, Type};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    abi::capability::db::push_param,
    error::{Error, Result},
};

/// A value that can be a parameter. The statement sees it as [`sql_type`](Self::sql_type); for another type, such as an
/// enum, write a cast (`$1::text::mood`) or wrap the value in [`Typed`].
pub trait Param: ToSql {
    /// Its type.
    fn sql_type(&self) -> Type;
}

macro_rules! params {
    ($($Rust:ty = $Sql:ident / $Array:ident),* $(,)?) => {
        $(
            impl Param for $Rust {
                fn sql_type(&self) -> Type {
                    Type::$Sql
                }
            }

            impl Param for Vec<$Rust> {
                fn sql_type(&self) -> Type {
                    Type::$Array
                }
            }

            impl Param for &[$Rust] {
                fn sql_type(&self) -> Type {
                    Type::$Array
                }
            }

            impl Param for Option<$Rust> {
                fn sql_type(&self) -> Type {
                    Type::$Sql
                }
            }
        )*
    };
}

params! {
    bool = BOOL / BOOL_ARRAY,
    i16 = INT2 / INT2_ARRAY,
    i32 = INT4 / INT4_ARRAY,
    i64 = INT8 / INT8_ARRAY,
    f32 = FLOAT4 / FLOAT4_ARRAY,
    f64 = FLOAT8 / FLOAT8_ARRAY,
    String = TEXT / TEXT_ARRAY,
    &str = TEXT / TEXT_ARRAY,
    Uuid = UUID / UUID_ARRAY,
    Value = JSONB / JSONB_ARRAY,
    jiff::Timestamp = TIMESTAMPTZ / TIMESTAMPTZ_ARRAY,
    jiff::civil::Date = DATE / DATE_ARRAY,
    std::net::IpAddr = INET / INET_ARRAY,
    Vec<u8> = BYTEA / BYTEA_ARRAY,
    &[u8] = BYTEA / BYTEA_ARRAY,
}

/// A value with a type that is not its usual one.
#[derive(Debug)]
pub struct Typed<T>(pub T, pub Type);

impl<T: ToSql> ToSql for Typed<T> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.0.to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        T::accepts(ty)
    }

    postgres_types::to_sql_checked!();
}

impl<T: ToSql> Param for Typed<T> {
    fn sql_type(&self) -> Type {
        self.1.clone()
    }
}

/// The buffer of parameters that crosses.
pub(super) fn encode(params: super::Params<'_>) -> Result<Vec<u8>> {
    let mut buffer = Vec::with_capacity(params.len() * 24);
    let mut value = BytesMut::new();
    for (at, param) in params.iter().enumerate() {
        let sql_type = param.sql_type();
        value.clear();
        let is_null = param
            .to_sql_checked(&sql_type, &mut value)
            .map_err(|error| {
                Error::new(500, "INTERNAL", "a value cannot be stored")
                    .with_cause(format!("parameter ${}: {error}", at + 1))
            })?;
        let bytes = matches!(is_null, IsNull::No).then_some(&value[..]);
        if !push_param(&mut buffer, sql_type.oid(), bytes) {
            return Err(Error::invalid(
                "VALUE_TOO_LARGE",
                format!("parameter ${} is larger than 2 GiB", at + 1),
            ));
        }
    }
    Ok(buffer)
}

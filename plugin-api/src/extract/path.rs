//! Path parameters read into a value, a tuple or a struct.

use serde::{
    de::{
        DeserializeOwned, Deserializer, IntoDeserializer, Visitor,
        value::{Error as ValueError, MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};

use super::{Extract, Request};
use crate::{
    error::{Error, Result},
    schema::{Schema, Shape},
};

/// Path parameters: `Path<Uuid>` for one, `Path<(Uuid, u32)>` by position, `Path<Params>` by name.
///
/// A value that does not read is a 404: the path names nothing. The type's [`Schema`] describes the parameters in the API's
/// reference.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Schema + Send> Extract for Path<T> {
    const PATH: Option<&'static Shape> = Some(&T::SHAPE);

    async fn extract(request: &mut Request) -> Result<Self> {
        let params: Vec<_> = request
            .params()
            .map(|(name, value)| (Text(name), Text(value)))
            .collect();
        T::deserialize(Params(&params)).map(Self).map_err(|error| {
            Error::not_found("PATH_INVALID", format!("{}: {error}", request.path()))
        })
    }
}

struct Params<'a>(&'a [(Text<'a>, Text<'a>)]);

/// Text that reads as whatever the target asks for.
#[derive(Clone, Copy)]
struct Text<'a>(&'a str);

impl<'de> IntoDeserializer<'de> for Text<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parse {
    ($($method:ident $visit:ident $what:literal),*) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
                let value = self.0.parse().map_err(|_| serde::de::Error::custom(concat!("expected ", $what)))?;
                visitor.$visit(value)
            }
        )*
    };
}

impl<'de> Deserializer<'de> for Text<'de> {
    type Error = ValueError;

    parse!(
        deserialize_bool visit_bool "true or false",
        deserialize_i8 visit_i8 "a whole number", deserialize_i16 visit_i16 "a whole number",
        deserialize_i32 visit_i32 "a whole number", deserialize_i64 visit_i64 "a whole number",
        deserialize_u8 visit_u8 "a whole number", deserialize_u16 visit_u16 "a whole number",
        deserialize_u32 visit_u32 "a whole number", deserialize_u64 visit_u64 "a whole number",
        deserialize_f32 visit_f32 "a number", deserialize_f64 visit_f64 "a number"
    );

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
        i128 u128
    }
}

/// Reads the only parameter.
macro_rules! single {
    ($($method:ident),*) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
                self.single()?.$method(visitor)
            }
        )*
    };
}

impl<'de> Params<'de> {
    fn single(&self) -> Result<Text<'de>, ValueError> {
        match self.0 {
            [(_, value)] => Ok(*value),
            all => Err(serde::de::Error::custom(format!(
                "expected one path parameter, the path has {}",
                all.len()
            ))),
        }
    }
}

impl<'de> Deserializer<'de> for Params<'de> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.single()?.deserialize_any(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_map(MapDeserializer::new(self.0.iter().copied()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_seq(SeqDeserializer::new(self.0.iter().map(|(_, value)| *value)))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    single!(
        deserialize_bool,
        deserialize_i8,
        deserialize_i16,
        deserialize_i32,
        deserialize_i64,
        deserialize_u8,
        deserialize_u16,
        deserialize_u32,
        deserialize_u64,
        deserialize_f32,
        deserialize_f64,
        deserialize_option
    );

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.single()?.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: DeserializeOwned + PartialEq + std::fmt::Debug>(
        params: &[(&str, &str)],
        expected: Option<&T>,
    ) {
        let params: Vec<_> = params
            .iter()
            .map(|(name, value)| (Text(name), Text(value)))
            .collect();
        assert_eq!(T::deserialize(Params(&params)).ok().as_ref(), expected);
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Named {
        id: u32,
        kind: String,
    }

    #[test]
    fn parameters_read_by_position_and_by_name() {
        check(&[("id", "7")], Some(&7_u32));
        check(&[("port", "443")], Some(&443_u16));
        check(&[("port", "65536")], None::<&u16>);
        check(&[("at", "-1")], Some(&-1_i8));
        check(&[("ratio", "0.5")], Some(&0.5_f64));
        check(&[("on", "true")], Some(&true));
        check(&[("id", "7")], Some(&Some(7_u8)));
        check(&[("id", "7")], Some(&"7".to_owned()));
        check(&[("id", "x")], None::<&u32>);
        check(
            &[("id", "7"), ("kind", "a")],
            Some(&(7_u32, "a".to_owned())),
        );
        check(
            &[("id", "7"), ("kind", "a")],
            Some(&Named {
                id: 7,
                kind: "a".into(),
            }),
        );
        check(&[("id", "7"), ("kind", "a")], None::<&u32>);
        let id = uuid::Uuid::from_u128(5);
        check(&[("id", &id.to_string())], Some(&id));
    }
}

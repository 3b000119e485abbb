//! Values between JSON and jq.

use jaq_json::{Map, Num, Val};
use serde_json::{Number, Value};

/// Below this a float that is whole is a whole number in JSON too, as jq prints it.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// A JSON value for jq.
pub(super) fn into_jq(value: &Value) -> Val {
    match value {
        Value::Null => Val::Null,
        Value::Bool(truth) => Val::Bool(*truth),
        Value::Number(number) => Val::Num(number_into_jq(number)),
        Value::String(text) => Val::from(text.clone()),
        Value::Array(items) => items.iter().map(into_jq).collect(),
        Value::Object(fields) => {
            let field =
                |(name, field): (&String, &Value)| (Val::from(name.clone()), into_jq(field));
            Val::obj(fields.iter().map(field).collect::<Map>())
        }
    }
}

fn number_into_jq(number: &Number) -> Num {
    if let Some(whole) = number.as_i64() {
        return Num::from_integral(whole);
    }
    if let Some(whole) = number.as_u64() {
        return Num::from_integral(whole);
    }
    Num::Float(number.as_f64().unwrap_or(f64::NAN))
}

/// A value of jq for JSON. It has been weighed before: its depth is bounded.
pub(super) fn from_jq(value: &Val) -> Value {
    match value {
        Val::Null => Value::Null,
        Val::Bool(truth) => Value::Bool(*truth),
        Val::Num(number) => number_from_jq(number),
        Val::TStr(text) | Val::BStr(text) => {
            Value::String(String::from_utf8_lossy(text).into_owned())
        }
        Val::Arr(items) => Value::Array(items.iter().map(from_jq).collect()),
        Val::Obj(fields) => {
            let field = |(name, field): (&Val, &Val)| {
                let name = match name {
                    Val::TStr(text) | Val::BStr(text) => String::from_utf8_lossy(text).into_owned(),
                    other => other.to_string(),
                };
                (name, from_jq(field))
            };
            Value::Object(fields.iter().map(field).collect())
        }
    }
}

fn number_from_jq(number: &Num) -> Value {
    let float = match number {
        Num::Int(whole) => return Value::from(*whole as i64),
        Num::BigInt(whole) => {
            let text = whole.to_string();
            if let Ok(whole) = text.parse::<u64>() {
                return Value::from(whole);
            }
            text.parse().unwrap_or(f64::NAN)
        }
        Num::Float(float) => *float,
        Num::Dec(text) => text.parse().unwrap_or(f64::NAN),
    };
    if float.fract() == 0.0 && float.abs() < WHOLE_MAX {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is whole and small enough"
        )]
        return Value::from(float as i64);
    }
    Number::from_f64(float).map_or(Value::Null, Value::Number)
}

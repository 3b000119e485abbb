//! JSON Schema as constants: what a type looks like in JSON, known at compile time.
//!
//! The shapes of configuration, bodies, queries and answers stand in the manifest, so that the host validates a
//! configuration and serves the OpenAPI document without running the plugin. Derive it: `#[derive(Schema)]` beside serde's
//! derives; it reads serde's attributes and `#[schema(..)]` for limits.

use std::collections::{BTreeMap, HashMap};

/// A type that is described by a JSON Schema.
pub trait Schema {
    /// What it looks like in JSON.
    const SHAPE: Shape;
}

/// A JSON Schema (draft 2020-12) in constant form.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Any JSON value.
    Any,
    /// `true` or `false`.
    Boolean,
    /// A whole number within limits.
    Integer {
        /// Smallest value.
        minimum: Option<i128>,
        /// Largest value.
        maximum: Option<i128>,
    },
    /// A number.
    Number,
    /// Text.
    String(Text),
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// The shape or `null`.
    Nullable(&'static Shape),
    /// A list.
    Array(&'static Shape),
    /// A list of exactly these, by position.
    Tuple(&'static [&'static Shape]),
    /// An object with any keys.
    Map(&'static Shape),
    /// An object with these keys.
    Object(&'static Object),
    /// Exactly one of these.
    OneOf(&'static [&'static Shape]),
}

impl Shape {
    /// Whether `null` is among the values.
    pub const fn is_nullable(&self) -> bool {
        matches!(self, Self::Nullable(_))
    }

    /// The shape without `null`.
    #[must_use]
    pub const fn value(self) -> Self {
        let mut shape = self;
        while let Self::Nullable(inner) = shape {
            shape = *inner;
        }
        shape
    }

    /// `value`, or also `null` where this shape allows it.
    #[must_use]
    pub const fn with_value(self, value: &'static Self) -> Self {
        if self.is_nullable() {
            Self::Nullable(value)
        } else {
            *value
        }
    }

    /// A text with these limits where they say something, and its own otherwise.
    ///
    /// # Panics
    ///
    /// When it is not a text, or no length could be right. The derive calls this at compile time.
    #[must_use]
    pub const fn with_text_limits(self, limits: &Text) -> Self {
        let Self::String(text) = self else {
            panic!(
                "min_length, max_length, pattern and format are limits of a text, and this is none"
            );
        };
        let text = text.limited(limits);
        if let (Some(min), Some(max)) = (text.min_length, text.max_length) {
            assert!(min <= max, "min_length is more than max_length");
        }
        Self::String(text)
    }

    /// A whole number with these limits where they say something, and its type's otherwise.
    ///
    /// # Panics
    ///
    /// When it is not a whole number, or a limit is outside of its type's. The derive calls this at compile time.
    #[must_use]
    pub const fn with_integer_limits(self, minimum: Option<i128>, maximum: Option<i128>) -> Self {
        let Self::Integer {
            minimum: lowest,
            maximum: highest,
        } = self
        else {
            panic!("minimum and maximum are limits of a whole number, and this is none");
        };
        let minimum = if minimum.is_some() { minimum } else { lowest };
        let maximum = if maximum.is_some() { maximum } else { highest };
        assert!(
            in_order(lowest, minimum) && in_order(maximum, highest),
            "the limit is outside of the type's own"
        );
        assert!(in_order(minimum, maximum), "minimum is more than maximum");
        Self::Integer { minimum, maximum }
    }
}

/// Whether a lower limit is below an upper one, where there are both.
const fn in_order(lower: Option<i128>, upper: Option<i128>) -> bool {
    match (lower, upper) {
        (Some(lower), Some(upper)) => lower <= upper,
        _ => true,
    }
}

/// Limits of a text.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// JSON Schema format such as `uuid`, `date-time`, `email`.
    pub format: Option<&'static str>,
    /// Fewest characters.
    pub min_length: Option<u32>,
    /// Most characters.
    pub max_length: Option<u32>,
    /// Regular expression (ECMA-262).
    pub pattern: Option<&'static str>,
}

impl Text {
    /// Any text.
    pub const ANY: Self = Self {
        format: None,
        min_length: None,
        max_length: None,
        pattern: None,
    };

    /// Text of a format.
    pub const fn format(format: &'static str) -> Self {
        Self {
            format: Some(format),
            ..Self::ANY
        }
    }

    const fn limited(self, by: &Self) -> Self {
        Self {
            format: if by.format.is_some() {
                by.format
            } else {
                self.format
            },
            min_length: if by.min_length.is_some() {
                by.min_length
            } else {
                self.min_length
            },
            max_length: if by.max_length.is_some() {
                by.max_length
            } else {
                self.max_length
            },
            pattern: if by.pattern.is_some() {
                by.pattern
            } else {
                self.pattern
            },
        }
    }
}

/// An object with known keys.
#[derive(Debug, Clone, Copy)]
pub struct Object {
    /// The type's documentation.
    pub description: &'static str,
    /// Its keys.
    pub fields: &'static [Field],
    /// Whether other keys are errors.
    pub closed: bool,
}

/// A key of an object.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The key.
    pub name: &'static str,
    /// The field's documentation.
    pub description: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// Whether it must be there.
    pub required: bool,
    /// JSON text of the value that stands for an absent key.
    pub default: Option<&'static str>,
}

macro_rules! shapes {
    ($($Type:ty = $shape:expr;)*) => {
        $( impl Schema for $Type { const SHAPE: Shape = $shape; } )*
    };
}

macro_rules! integers {
    ($($Type:ty),*) => {
        $( impl Schema for $Type {
            const SHAPE: Shape = Shape::Integer { minimum: Some(<$Type>::MIN as i128), maximum: Some(<$Type>::MAX as i128) };
        } )*
    };
}

integers!(i8, i16, i32, i64, u8, u16, u32, u64, usize);

shapes! {
    bool = Shape::Boolean;
    f32 = Shape::Number;
    f64 = Shape::Number;
    String = Shape::String(Text::ANY);
    &str = Shape::String(Text::ANY);
    serde_json::Value = Shape::Any;
    serde_json::value::RawValue = Shape::Any;
    serde_json::Map<String, serde_json::Value> = Shape::Map(&Shape::Any);
    uuid::Uuid = Shape::String(Text::format("uuid"));
    jiff::Timestamp = Shape::String(Text::format("date-time"));
    jiff::civil::Date = Shape::String(Text::format("date"));
    () = Shape::Object(&Object { description: "", fields: &[], closed: false });
}

impl<T: Schema> Schema for Option<T> {
    const SHAPE: Shape = Shape::Nullable(&T::SHAPE);
}

macro_rules! tuples {
    ($(($($T:ident),*))*) => {
        $( impl<$($T: Schema),*> Schema for ($($T,)*) {
            const SHAPE: Shape = Shape::Tuple(&[$(&$T::SHAPE),*]);
        } )*
    };
}

tuples! { (A) (A, B) (A, B, C) (A, B, C, D) }

impl<T: Schema> Schema for Vec<T> {
    const SHAPE: Shape = Shape::Array(&T::SHAPE);
}

impl<T: Schema + ?Sized> Schema for Box<T> {
    const SHAPE: Shape = T::SHAPE;
}

impl<T: Schema, S> Schema for HashMap<String, T, S> {
    const SHAPE: Shape = Shape::Map(&T::SHAPE);
}

impl<T: Schema> Schema for BTreeMap<String, T> {
    const SHAPE: Shape = Shape::Map(&T::SHAPE);
}

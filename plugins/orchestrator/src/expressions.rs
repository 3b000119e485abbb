//! Runtime expressions: jq, with limits on steps, depth and sizes.
//!
//! In the standard's strict mode a text is an expression when it stands in `${ }`; where the standard asks for an expression
//! (`if`, `when`, `in`, `as` and their like) it may stand without. Each expression is compiled once for each [`Expressions`].

mod compile;
mod convert;
mod guard;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Map, Value};

use compile::Compiled;
pub use guard::Bounds;

/// Variables by name, without the dollar.
pub type Variables<'a> = BTreeMap<&'a str, Value>;

/// The expressions of a definition, compiled as they are met.
#[derive(Default)]
pub struct Expressions {
    compiled: Mutex<HashMap<String, Result<Arc<Compiled>, String>>>,
}

impl std::fmt::Debug for Expressions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expressions").finish_non_exhaustive()
    }
}

/// Values by the name of a variable; asked only for those that an expression names.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<Value>;

impl Expressions {
    /// Evaluates an expression, with or without `${ }`, on `input`: the first value that it gives, null when it gives none.
    ///
    /// # Errors
    ///
    /// What is wrong, in words: the expression cannot be read, names what is not there, fails, or exceeds a bound.
    pub fn evaluate(
        &self,
        expression: &str,
        input: &Value,
        variables: Lookup<'_>,
        bounds: Bounds,
    ) -> Result<Value, String> {
        let code = inner(expression).unwrap_or(expression);
        let failed = |what: String| format!("the expression \"{}\": {what}", short(code));
        let compiled = self.compiled(code).map_err(failed)?;
        compiled.run(input, variables, bounds).map_err(failed)
    }

    /// Evaluates every text of a value that stands in `${ }`, at any depth.
    ///
    /// # Errors
    ///
    /// As [`Self::evaluate`].
    pub fn resolve(
        &self,
        template: &Value,
        input: &Value,
        variables: Lookup<'_>,
        bounds: Bounds,
    ) -> Result<Value, String> {
        match template {
            Value::String(text) if inner(text).is_some() => {
                self.evaluate(text, input, variables, bounds)
            }
            Value::Array(items) => items
                .iter()
                .map(|item| self.resolve(item, input, variables, bounds))
                .collect(),
            Value::Object(fields) => {
                let mut resolved = Map::new();
                for (name, field) in fields {
                    resolved.insert(name.clone(), self.resolve(field, input, variables, bounds)?);
                }
                Ok(Value::Object(resolved))
            }
            other => Ok(other.clone()),
        }
    }

    fn compiled(&self, code: &str) -> Result<Arc<Compiled>, String> {
        let mut known = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = known.get(code) {
            return compiled.clone();
        }
        let compiled = compile::compile(code).map(Arc::new);
        known.insert(code.to_owned(), compiled.clone());
        compiled
    }
}

/// What is wrong with the syntax of an expression.
///
/// # Errors
///
/// What is wrong, in words.
pub fn check(expression: &str) -> Result<(), String> {
    compile::compile(inner(expression).unwrap_or(expression)).map(|_| ())
}

/// What stands in `${ }`, when the whole text does.
pub fn inner(text: &str) -> Option<&str> {
    text.trim()
        .strip_prefix("${")?
        .strip_suffix('}')
        .map(str::trim)
}

/// Whether jq takes a value for true.
pub fn truth(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
}

/// An expression in a message.
fn short(code: &str) -> String {
    const LENGTH: usize = 120;
    if code.chars().count() <= LENGTH {
        return code.to_owned();
    }
    code.chars().take(LENGTH).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests;

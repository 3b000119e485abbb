//! Root fields of GraphQL that are routes: called as Hasura calls an action by its metadata, with the templates filled in and the
//! answer held against the type that the metadata says it has. Hasura itself cannot be had where the tests run.

use http::Method;
use nself::{hasura::brought::Brought, policy::Policy};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use crate::{host::TestHost, request::Request};

impl TestHost {
    /// Asks for the root field `name` as who has that token, with these arguments.
    ///
    /// # Errors
    ///
    /// What the caller of GraphQL is told: `message` and `extensions.code`.
    ///
    /// # Panics
    ///
    /// When no plugin of the host has such a field, an argument is none of it, or the answer is not what its type says.
    pub async fn action(&self, name: &str, token: &str, arguments: Value) -> Result<Value, Value> {
        let manifests = self.libraries().iter().map(|library| &library.manifest);
        let brought = Brought::by(manifests, Policy::embedded());
        let brought = brought.unwrap_or_else(|error| panic!("{error}"));
        let types = Types(brought.actions.types.value());
        let found = brought.actions.list.iter().find(|one| one["name"] == name);
        let definition =
            &found.unwrap_or_else(|| panic!("no plugin has the field {name}"))["definition"];
        types.check_arguments(definition, &arguments);
        let request = self.request_of(definition, &arguments, token);
        let answer = request.send().await;
        let body: Value = answer.json();
        // As the response transform has it.
        if answer.status >= 300 {
            return Err(json!({"message": body["error"], "extensions": {"code": body["code"]}}));
        }
        let data = &body["data"];
        types.check(text(&definition["output_type"]), data, name);
        Ok(data.clone())
    }

    fn request_of<'a>(&'a self, definition: &Value, arguments: &Value, token: &str) -> Request<'a> {
        let transform = &definition["request_transform"];
        let mut path = filled(text(&transform["url"]), arguments);
        let query = transform["query_params"].as_object().into_iter().flatten();
        let query = query.map(|(name, value)| (name, filled(text(value), arguments)));
        // Hasura leaves out what is null.
        let query: Vec<String> = query
            .filter(|(_, value)| value != "null")
            .map(|(name, value)| format!("{name}={}", escaped(&value)))
            .collect();
        if !query.is_empty() {
            path = format!("{path}?{}", query.join("&"));
        }
        let method = Method::from_bytes(text(&transform["method"]).as_bytes());
        let request = Request::new(self, method.expect("a method"), &path).token(token);
        match text(&transform["body"]["action"]) {
            "transform" => {
                let template = text(&transform["body"]["template"]);
                let argument = template
                    .strip_prefix("{{$body.input.")
                    .and_then(|rest| rest.strip_suffix("}}"));
                let argument = argument.unwrap_or_else(|| panic!("{template:?} is no argument"));
                request.json(&arguments[argument])
            }
            // It says so even then.
            _ => request.header("content-type", "application/json"),
        }
    }
}

/// A text with its templates filled in, as far as Kriti is used here.
fn filled(template: &str, arguments: &Value) -> String {
    let mut whole = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (inner, after) = after.split_once("}}").expect("a template ends");
        whole.push_str(before);
        rest = after;
        if inner == "$base_url" {
            continue;
        }
        let escape = inner
            .strip_prefix("escapeUri(")
            .and_then(|rest| rest.strip_suffix(')'));
        let place = escape.unwrap_or(inner);
        let optional = place.strip_prefix("$body.input?.");
        let name = optional.or_else(|| place.strip_prefix("$body.input."));
        let name = name.unwrap_or_else(|| panic!("{inner:?} is no argument"));
        let value = arguments.get(name).unwrap_or(&Value::Null);
        assert!(
            optional.is_some() || !value.is_null(),
            "{name} is not given"
        );
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        whole.push_str(&if escape.is_some() {
            escaped(&value)
        } else {
            value
        });
    }
    whole + rest
}

fn escaped(value: &str) -> String {
    utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The types of the metadata, and values held against them.
struct Types(Value);

impl Types {
    fn check_arguments(&self, definition: &Value, arguments: &Value) {
        let known = definition["arguments"].as_array().into_iter().flatten();
        let known: Vec<&Value> = known.collect();
        for name in arguments.as_object().expect("arguments by name").keys() {
            assert!(
                known.iter().any(|one| one["name"] == *name),
                "{name} is no argument"
            );
        }
        for argument in known {
            let name = text(&argument["name"]);
            let value = arguments.get(name).unwrap_or(&Value::Null);
            self.check(text(&argument["type"]), value, name);
        }
    }

    fn check(&self, kind: &str, value: &Value, place: &str) {
        let Some(kind) = kind.strip_suffix('!') else {
            if !value.is_null() {
                self.check(&format!("{kind}!"), value, place);
            }
            return;
        };
        assert!(!value.is_null(), "{place}: {kind} is null");
        if let Some(inner) = kind
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            let items = value.as_array();
            for item in items.unwrap_or_else(|| panic!("{place}: {value} is no list")) {
                self.check(inner, item, place);
            }
            return;
        }
        let is_right = match kind {
            "Int" => value
                .as_i64()
                .is_some_and(|number| i32::try_from(number).is_ok()),
            "bigint" => value.is_i64() || value.is_u64(),
            "Float" => value.is_number(),
            "Boolean" => value.is_boolean(),
            "String" | "uuid" | "timestamptz" | "date" => value.is_string(),
            "jsonb" => true,
            own => return self.check_own(own, value, place),
        };
        assert!(is_right, "{place}: {value} is no {kind}");
    }

    fn check_own(&self, kind: &str, value: &Value, place: &str) {
        let find = |list: &str| {
            let list = self.0[list].as_array().into_iter().flatten();
            list.into_iter().find(|one| one["name"] == kind)
        };
        if let Some(choice) = find("enums") {
            let mut values = choice["values"].as_array().into_iter().flatten();
            assert!(
                values.any(|one| one["value"] == *value),
                "{place}: {value} is no {kind}"
            );
            return;
        }
        let object = find("objects").or_else(|| find("input_objects"));
        let object = object.unwrap_or_else(|| panic!("{place}: there is no type {kind}"));
        let given: &Map<String, Value> = value
            .as_object()
            .unwrap_or_else(|| panic!("{place}: {value} is no object"));
        let fields: Vec<&Value> = object["fields"].as_array().into_iter().flatten().collect();
        for key in given.keys() {
            // Hasura refuses an answer with more than its type says.
            assert!(
                fields.iter().any(|field| field["name"] == *key),
                "{place}: {kind} has no field {key}"
            );
        }
        for field in fields {
            let name = text(&field["name"]);
            let value = given.get(name).unwrap_or(&Value::Null);
            self.check(text(&field["type"]), value, &format!("{place}.{name}"));
        }
    }
}

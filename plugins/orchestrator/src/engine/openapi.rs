//! OpenAPI: from an operation and its parameters to a request.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    error::Error,
    need::{HttpCall, OpenApiCall},
    request::expand,
};

/// The request of an operation, by its document (OpenAPI 3 or Swagger 2).
///
/// # Errors
///
/// [`Error::configuration`] when the document has no such operation or a parameter is missing.
pub fn resolve(document: &Value, call: &OpenApiCall) -> Result<HttpCall, Error> {
    let (path, method, shared, operation) = find(document, &call.operation).ok_or_else(|| {
        Error::configuration(format!("the document has no operation {}", call.operation))
    })?;
    let mut request = HttpCall {
        method: method.to_uppercase(),
        endpoint: String::new(),
        headers: BTreeMap::new(),
        query: BTreeMap::new(),
        body: None,
        output: call.output,
        redirect: call.redirect,
        authentication: call.authentication.clone(),
    };
    let mut in_path = Map::new();
    let mut form = Map::new();
    let mut used = vec!["body"];
    let parameters = [shared, &operation["parameters"]];
    for parameter in parameters.into_iter().filter_map(Value::as_array).flatten() {
        let parameter = followed(document, parameter);
        let name = parameter["name"].as_str().unwrap_or_default();
        used.push(name);
        let place = parameter["in"].as_str().unwrap_or_default();
        let Some(value) = call.parameters.get(name) else {
            if parameter["required"].as_bool() == Some(true) && place != "body" {
                return Err(Error::configuration(format!(
                    "the parameter {name} is missing"
                )));
            }
            continue;
        };
        match place {
            "path" => {
                in_path.insert(name.to_owned(), value.clone());
            }
            "query" => {
                request.query.insert(name.to_owned(), text(value));
            }
            "header" => {
                request.headers.insert(name.to_owned(), text(value));
            }
            "cookie" => {
                let cookies = request.headers.entry("cookie".to_owned()).or_default();
                if !cookies.is_empty() {
                    cookies.push_str("; ");
                }
                *cookies = format!("{cookies}{name}={}", text(value));
            }
            "formData" => {
                form.insert(name.to_owned(), value.clone());
            }
            _ => request.body = Some(value.clone()),
        }
    }
    if request.body.is_none() {
        request.body =
            body(operation, call, &used).or((!form.is_empty()).then_some(Value::Object(form)));
    }
    let base = base(document, &call.document);
    request.endpoint = format!(
        "{}{}",
        base.trim_end_matches('/'),
        expand(path, &Value::Object(in_path))
    );
    Ok(request)
}

/// Path, method, the path's own parameters and the operation itself.
fn find<'d>(document: &'d Value, id: &str) -> Option<(&'d str, &'d str, &'d Value, &'d Value)> {
    document["paths"]
        .as_object()?
        .iter()
        .find_map(|(path, methods)| {
            let (method, operation) = methods
                .as_object()?
                .iter()
                .find(|(_, operation)| operation["operationId"].as_str() == Some(id))?;
            Some((
                path.as_str(),
                method.as_str(),
                &methods["parameters"],
                operation,
            ))
        })
}

/// What a local reference points at.
fn followed<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    let pointer = value["$ref"]
        .as_str()
        .and_then(|reference| reference.strip_prefix('#'));
    pointer
        .and_then(|pointer| document.pointer(pointer))
        .unwrap_or(value)
}

/// The body of an OpenAPI 3 operation: `body`, or all that is no parameter.
fn body(operation: &Value, call: &OpenApiCall, used: &[&str]) -> Option<Value> {
    if let Some(body) = call.parameters.get("body") {
        return Some(body.clone());
    }
    operation.get("requestBody")?;
    let rest: Map<String, Value> = call
        .parameters
        .iter()
        .filter(|(name, _)| !used.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    (!rest.is_empty()).then_some(Value::Object(rest))
}

/// Where the operations are.
fn base(document: &Value, from: &str) -> String {
    let (scheme, rest) = from.split_once("://").unwrap_or(("https", from));
    let host = rest.split('/').next().unwrap_or_default();
    if document.get("swagger").is_some() {
        let schemes = document["schemes"].as_array();
        let has = |wanted: &str| schemes.is_some_and(|all| all.iter().any(|one| one == wanted));
        let scheme = match schemes {
            Some(_) if has(scheme) => scheme,
            Some(_) if has("https") => "https",
            Some(_) => "http",
            None => scheme,
        };
        let host = document["host"].as_str().unwrap_or(host);
        return format!(
            "{scheme}://{host}{}",
            document["basePath"].as_str().unwrap_or("")
        );
    }
    let server = &document["servers"][0];
    let defaults: Map<String, Value> = server["variables"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, variable)| (name.clone(), variable["default"].clone()))
        .collect();
    let mut url = server["url"].as_str().unwrap_or("/").to_owned();
    for (name, value) in &defaults {
        url = url.replace(&format!("{{{name}}}"), &text(value));
    }
    if url.contains("://") {
        return url;
    }
    format!("{scheme}://{host}/{}", url.trim_start_matches('/'))
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

//! OpenAPI: from an operation and its parameters to a request.
//!
//! Operations of OpenAPI 3 and Swagger 2 with parameters of all places and styles, and bodies that are JSON, forms, forms in
//! parts or text. What is not done fails before anything is sent, with a configuration error that names it: references to other
//! documents, and parameters that the operation does not have. The first server is used, its variables with their defaults; what the
//! document says of security is not: who calls is said by the task.

mod body;
mod document;
mod parts;
mod style;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use serde_json::{Map, Value};

use self::{
    body::{Body, Field},
    document::{Document, Operation},
    parts::Part,
    style::Style,
};
use super::{
    error::Error,
    need::{HttpCall, OpenApiCall},
};

/// The request of an operation, by its document (OpenAPI 3 or Swagger 2).
///
/// # Errors
///
/// [`Error::configuration`] when the document has no such operation, a parameter is missing or is not the operation's, or the document
/// wants what is not done here.
pub fn resolve(document: &Value, call: &OpenApiCall) -> Result<HttpCall, Error> {
    let document = Document::read(document)?;
    let operation = document.operation(&call.operation)?;
    let mut request = Request {
        path: operation.path.to_owned(),
        ..Request::default()
    };
    for parameter in document.parameters(&operation)? {
        request.take(&document, parameter, call)?;
    }
    let body = request.body(&document, &operation, call)?;
    let base = document.server(&operation, &call.document)?;
    let mut endpoint = format!("{}{}", base.trim_end_matches('/'), request.whole_path()?);
    if !request.query.is_empty() {
        endpoint = format!("{endpoint}?{}", request.query.join("&"));
    }
    let mut headers = request.headers;
    if !request.cookies.is_empty() {
        headers.insert("cookie".to_owned(), request.cookies.join("; "));
    }
    if let Some(body) = &body {
        headers.insert("content-type".to_owned(), body.kind.clone());
    }
    Ok(HttpCall {
        method: operation.method.to_uppercase(),
        endpoint,
        headers,
        query: BTreeMap::new(),
        body: body.map(|body| Value::String(body.text)),
        output: call.output,
        redirect: call.redirect,
        authentication: call.authentication.clone(),
    })
}

/// What the parameters have made of a request so far.
#[derive(Default)]
struct Request {
    path: String,
    query: Vec<String>,
    headers: BTreeMap<String, String>,
    cookies: Vec<String>,
    /// Fields of a form (Swagger 2).
    form: Vec<Field>,
    /// What Swagger 2 calls the body.
    whole: Option<Value>,
    known: BTreeSet<String>,
}

impl Request {
    /// Writes one parameter where it belongs.
    fn take(
        &mut self,
        document: &Document<'_>,
        parameter: &Value,
        call: &OpenApiCall,
    ) -> Result<(), Error> {
        let name = parameter["name"].as_str().unwrap_or_default();
        let place = parameter["in"].as_str().unwrap_or_default();
        self.known.insert(name.to_owned());
        let given = call.parameters.get(name).filter(|value| !value.is_null());
        let Some(value) = given else {
            return match parameter["required"].as_bool() {
                Some(true) => Err(missing(name)),
                _ => Ok(()),
            };
        };
        if place == "body" {
            self.whole = Some(value.clone());
            return Ok(());
        }
        let style = Style::of(parameter, document.is_swagger)?;
        let value = &style::content(parameter, value)?;
        match place {
            "path" => {
                let text = style.one(name, value)?;
                self.path = self.path.replace(&format!("{{{name}}}"), &text);
            }
            "query" => self.query.extend(style.pairs(name, value)?),
            "header" => {
                self.headers
                    .insert(name.to_ascii_lowercase(), style.plain(value));
            }
            "cookie" => self.cookies.extend(style.pairs(name, value)?),
            "formData" if parameter["type"] == "file" => {
                self.form.push(Field::File(Part::file(name, value)));
            }
            "formData" => self.form.push(Field::Text {
                name: name.to_owned(),
                pairs: style.pairs(name, value)?,
                texts: style.texts(value),
            }),
            other => return Err(out(&format!("parameters in {other:?}"))),
        }
        Ok(())
    }

    /// The body, and that nothing was given which the operation does not take.
    fn body<'d>(
        &mut self,
        document: &Document<'d>,
        operation: &Operation<'d>,
        call: &OpenApiCall,
    ) -> Result<Option<Body>, Error> {
        let rest: Map<String, Value> = call
            .parameters
            .iter()
            .filter(|(name, value)| !self.known.contains(*name) && !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if document.is_swagger {
            none_of(&rest, &call.operation)?;
            return self.body_of_swagger(document, operation);
        }
        let Some(wanted) = operation.itself.get("requestBody") else {
            none_of(&rest, &call.operation)?;
            return Ok(None);
        };
        let wanted = document.followed(wanted)?;
        let value = match rest.get("body") {
            Some(body) if rest.len() == 1 => Some(body.clone()),
            // Besides, it is a field of that name.
            _ => (!rest.is_empty()).then_some(Value::Object(rest)),
        };
        match value {
            Some(value) => body::written(document, &wanted["content"], &value).map(Some),
            None if wanted["required"].as_bool() == Some(true) => Err(missing("body")),
            None => Ok(None),
        }
    }

    fn body_of_swagger(
        &mut self,
        document: &Document<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Body>, Error> {
        let kinds = document.consumed(operation);
        if let Some(whole) = &self.whole {
            return body::of_kind(body::best(&kinds), whole, &Value::Null).map(Some);
        }
        if self.form.is_empty() {
            return Ok(None);
        }
        body::form(&kinds, mem::take(&mut self.form)).map(Some)
    }

    /// The path; every part of it has been filled in, and none of them leads elsewhere.
    fn whole_path(&self) -> Result<&str, Error> {
        let mut segments = self.path.split('/');
        if segments.any(|segment| segment == "." || segment == "..") {
            let detail = "a parameter of the path is a dot, or two: that is another path";
            return Err(Error::configuration(detail));
        }
        match self.path.split_once('{') {
            None => Ok(&self.path),
            Some((_, rest)) => Err(missing(rest.split('}').next().unwrap_or_default())),
        }
    }
}

fn none_of(rest: &Map<String, Value>, operation: &str) -> Result<(), Error> {
    match rest.keys().next() {
        None => Ok(()),
        Some(name) => Err(Error::configuration(format!(
            "the operation {operation} has no parameter {name}"
        ))),
    }
}

fn missing(name: &str) -> Error {
    Error::configuration(format!("the parameter {name} is missing"))
}

/// What is not done here.
fn out(what: &str) -> Error {
    Error::configuration(format!(
        "{what}: calls of openapi do not do that, use a call of http"
    ))
}

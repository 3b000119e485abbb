//! The document: where its operations are, what they take, and where their servers are.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::engine::error::Error;

const METHODS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];
/// References in a row.
const REFERENCES_MAX: usize = 8;

/// A document of OpenAPI 3 or Swagger 2.
pub(super) struct Document<'d> {
    root: &'d Value,
    pub(super) is_swagger: bool,
}

/// An operation, and the item of the path that it is in.
pub(super) struct Operation<'d> {
    pub(super) path: &'d str,
    pub(super) method: &'d str,
    item: &'d Value,
    pub(super) itself: &'d Value,
}

impl<'d> Document<'d> {
    pub(super) fn read(root: &'d Value) -> Result<Self, Error> {
        let is = |name: &str, number: &str| {
            let version = root[name].as_str();
            version.is_some_and(|version| version.starts_with(number))
        };
        let is_swagger = is("swagger", "2.");
        if !is_swagger && !is("openapi", "3.") {
            let detail = "the document is neither of OpenAPI 3 nor of Swagger 2";
            return Err(Error::configuration(detail));
        }
        Ok(Self { root, is_swagger })
    }

    /// The operation of this id.
    pub(super) fn operation(&self, id: &str) -> Result<Operation<'d>, Error> {
        for (path, item) in self.root["paths"].as_object().into_iter().flatten() {
            let item = self.followed(item)?;
            let methods = METHODS
                .iter()
                .filter_map(|method| Some((*method, item.get(*method)?)));
            for (method, itself) in methods {
                if itself["operationId"].as_str() == Some(id) {
                    return Ok(Operation {
                        path,
                        method,
                        item,
                        itself,
                    });
                }
            }
        }
        Err(Error::configuration(format!(
            "the document has no operation {id}"
        )))
    }

    /// What an operation takes: its own parameters, and those of its path that it does not say otherwise.
    pub(super) fn parameters(&self, operation: &Operation<'d>) -> Result<Vec<&'d Value>, Error> {
        let mut all: Vec<&Value> = Vec::new();
        for list in [operation.itself, operation.item] {
            for parameter in list["parameters"].as_array().into_iter().flatten() {
                let parameter = self.followed(parameter)?;
                let is_same = |other: &&Value| {
                    (&other["name"], &other["in"]) == (&parameter["name"], &parameter["in"])
                };
                if !all.iter().any(is_same) {
                    all.push(parameter);
                }
            }
        }
        Ok(all)
    }

    /// What a reference points at; the value itself when it is none.
    pub(super) fn followed(&self, mut value: &'d Value) -> Result<&'d Value, Error> {
        for _ in 0..REFERENCES_MAX {
            let Some(reference) = value["$ref"].as_str() else {
                return Ok(value);
            };
            let Some(pointer) = reference.strip_prefix('#') else {
                return Err(Error::configuration(format!(
                    "the reference {reference} leads to another document, which is not followed: put it into this one"
                )));
            };
            let pointer = percent_decode_str(pointer).decode_utf8_lossy();
            value = self.root.pointer(&pointer).ok_or_else(|| {
                Error::configuration(format!("the document has nothing at {reference}"))
            })?;
        }
        let detail = "the document's references lead in a circle";
        Err(Error::configuration(detail))
    }

    /// Content types that an operation of Swagger 2 takes.
    pub(super) fn consumed(&self, operation: &Operation<'d>) -> Vec<&'d str> {
        let own = operation.itself["consumes"].as_array();
        let all = own.or_else(|| self.root["consumes"].as_array());
        all.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }

    /// Where an operation is, given where the document came from.
    pub(super) fn server(&self, operation: &Operation<'d>, from: &str) -> Result<String, Error> {
        let (scheme, rest) = from.split_once("://").unwrap_or(("https", from));
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if self.is_swagger {
            return Ok(self.base(scheme, host));
        }
        let places = [operation.itself, operation.item, self.root];
        let server = places
            .iter()
            .find_map(|place| place["servers"].as_array()?.first());
        let url = match server {
            Some(server) => with_variables(server)?,
            None => "/".to_owned(),
        };
        if url.contains("://") {
            return Ok(url);
        }
        if let Some(rest) = url.strip_prefix("//") {
            return Ok(format!("{scheme}://{rest}"));
        }
        if url.starts_with('/') {
            return Ok(format!("{scheme}://{host}{url}"));
        }
        // Beside the document.
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        let folder = path.rsplit_once('/').map_or(path, |(folder, _)| folder);
        let url = url.strip_prefix("./").unwrap_or(&url);
        Ok(format!("{scheme}://{folder}/{url}"))
    }

    /// The same of Swagger 2. Of several schemes it is the document's own, or the one that encrypts.
    fn base(&self, scheme: &str, host: &str) -> String {
        let schemes = self.root["schemes"].as_array();
        let has = |wanted: &str| schemes.is_some_and(|all| all.iter().any(|one| one == wanted));
        let scheme = match schemes {
            Some(_) if has(scheme) => scheme,
            Some(_) if has("https") => "https",
            Some(_) => "http",
            None => scheme,
        };
        let host = self.root["host"].as_str().unwrap_or(host);
        let path = self.root["basePath"].as_str().unwrap_or_default();
        format!("{scheme}://{host}{path}")
    }
}

/// A server's address, its variables filled in.
fn with_variables(server: &Value) -> Result<String, Error> {
    let mut url = server["url"].as_str().unwrap_or("/").to_owned();
    for (name, variable) in server["variables"].as_object().into_iter().flatten() {
        if let Some(default) = variable["default"].as_str() {
            url = url.replace(&format!("{{{name}}}"), default);
        }
    }
    if url.contains('{') {
        let detail = format!("the server {url} has a variable without a default");
        return Err(Error::configuration(detail));
    }
    Ok(url)
}

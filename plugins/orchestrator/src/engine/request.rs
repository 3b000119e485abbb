//! Requests: from a task and its input to what its driver has to do, and from the answer to the task's output.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{
    data::Scope,
    error::Error,
    listen,
    machine::Machine,
    need::{
        Authentication, Call, CallKind, Emit, FunctionCall, HttpCall, HttpOutput, Need, NeedId,
        OpenApiCall, Outcome, PROOF, Response,
    },
    secret::Secrets,
    state::{Frame, Role, Stage, TaskFrame},
};
use crate::dsl::Kind;

/// Functions whose arguments are kept by whoever gets them.
const KEEPING: [&str; 2] = ["job", "device-command"];

/// The name of a function without version and catalog.
fn bare(function: &str) -> &str {
    function.split(['@', ':']).next().unwrap_or(function)
}

impl Machine<'_> {
    /// What a need asks for, made again from the state; `None` when its task is gone.
    pub(super) fn need(&self, need: NeedId) -> Option<Need> {
        let wait = self.state.waits.get(&need)?;
        if let Some(at) = wait.at {
            return Some(Need::Timer { at });
        }
        if wait.role != Role::Task {
            return None;
        }
        let Frame::Task(frame) = self
            .state
            .threads
            .get(&wait.thread)?
            .frames
            .get(wait.frame)?
        else {
            return None;
        };
        match &frame.stage {
            Stage::Emitting(_, event) => Some(Need::Emit(Emit {
                key: self.key(frame),
                event: event.clone(),
            })),
            Stage::Listening(_) => match &self.node(frame).task.kind {
                Kind::Listen(listen) => Some(Need::Event(listen::subscription(&listen.to))),
                _ => None,
            },
            _ => self.request(wait.thread, frame).ok(),
        }
    }

    /// What a `call` or `run` task asks for. It sees secrets: it is not kept.
    pub(super) fn request(&self, thread: u64, frame: &TaskFrame) -> Result<Need, Error> {
        let scope = Scope {
            secrets: true,
            ..Self::scope(thread, frame)
        };
        let input = frame.input();
        match &self.node(frame).task.kind {
            Kind::Call(name, arguments) => {
                let kind = match name.as_str() {
                    "http" => CallKind::Http(self.http(arguments, input, scope)?),
                    "openapi" => CallKind::OpenApi(self.openapi(arguments, input, scope)?),
                    "asyncapi" | "grpc" | "a2a" | "mcp" => {
                        let detail = format!(
                            "calls of the kind {name} are not supported by this runtime: call http or openapi, or a capability of a plugin that speaks it"
                        );
                        return Err(Error::configuration(detail));
                    }
                    function => {
                        CallKind::Function(self.function(function, arguments, input, scope)?)
                    }
                };
                Ok(Need::Call(Call {
                    key: self.key(frame),
                    task: frame.task.clone(),
                    kind,
                }))
            }
            Kind::Run(process) => self.process(process, frame, scope),
            _ => Err(Error::runtime("a task that asks for nothing")),
        }
    }

    fn http(&self, with: &Value, input: &Value, scope: Scope<'_>) -> Result<HttpCall, Error> {
        let (endpoint, authentication) = self.endpoint(&with["endpoint"], input, scope)?;
        let descriptor = authentication.as_ref().map(described);
        let scope = Scope {
            authorization: descriptor.as_ref(),
            ..scope
        };
        let map = |name: &str| -> Result<BTreeMap<String, String>, Error> {
            texts(&self.resolve(&with[name], input, scope)?)
        };
        let body = match with.get("body") {
            Some(body) => Some(self.resolve(body, input, scope)?),
            None => None,
        };
        let method = self.resolve(&with["method"], input, scope)?;
        Ok(HttpCall {
            method: method.as_str().unwrap_or("GET").to_uppercase(),
            endpoint,
            headers: map("headers")?,
            query: map("query")?,
            body,
            output: output(with),
            redirect: with["redirect"].as_bool().unwrap_or(false),
            authentication,
        })
    }

    fn openapi(&self, with: &Value, input: &Value, scope: Scope<'_>) -> Result<OpenApiCall, Error> {
        let (document, document_authentication) =
            self.endpoint(&with["document"]["endpoint"], input, scope)?;
        let authentication = self.authentication(&with["authentication"], input, scope)?;
        let descriptor = authentication.as_ref().map(described);
        let scope = Scope {
            authorization: descriptor.as_ref(),
            ..scope
        };
        let parameters = match self.resolve(&with["parameters"], input, scope)? {
            Value::Object(fields) => fields.into_iter().collect(),
            _ => BTreeMap::new(),
        };
        let operation = self.resolve(&with["operationId"], input, scope)?;
        Ok(OpenApiCall {
            document,
            document_authentication,
            operation: operation.as_str().unwrap_or_default().to_owned(),
            parameters,
            authentication,
            output: output(with),
            redirect: with["redirect"].as_bool().unwrap_or(false),
        })
    }

    fn function(
        &self,
        function: &str,
        arguments: &Value,
        input: &Value,
        scope: Scope<'_>,
    ) -> Result<FunctionCall, Error> {
        // A job and a command are kept by whoever gets them: secrets do not go there.
        let scope = Scope {
            secrets: scope.secrets && !KEEPING.contains(&bare(function)),
            ..scope
        };
        let arguments = match arguments {
            Value::Null => input.clone(),
            arguments => self.resolve(arguments, input, scope)?,
        };
        let whole = FunctionCall {
            name: function.to_owned(),
            version: None,
            catalog: None,
            endpoint: None,
            arguments,
        };
        if function.contains("://") {
            return Ok(whole);
        }
        let (named, catalog) = match function.rsplit_once('@') {
            Some((named, catalog)) => (named, Some(catalog.to_owned())),
            None => (function, None),
        };
        let (name, version) = match named.rsplit_once(':') {
            Some((name, version)) => (name.to_owned(), Some(version.to_owned())),
            None => (named.to_owned(), None),
        };
        let known = catalog
            .as_ref()
            .and_then(|catalog| self.program.definition.shared.catalogs.get(catalog));
        let endpoint = known
            .map(|catalog| self.resolve(&catalog["endpoint"], input, scope))
            .transpose()?;
        Ok(FunctionCall {
            name,
            version,
            catalog,
            endpoint,
            ..whole
        })
    }

    /// An endpoint: its URI with the template filled in, and how to prove who it is.
    pub(super) fn endpoint(
        &self,
        endpoint: &Value,
        input: &Value,
        scope: Scope<'_>,
    ) -> Result<(String, Option<Authentication>), Error> {
        let (uri, authentication) = match endpoint {
            Value::Object(fields) => (&endpoint["uri"], fields.get("authentication")),
            other => (other, None),
        };
        let resolved = self.resolve(uri, input, scope)?;
        let text = resolved
            .as_str()
            .ok_or_else(|| Error::expression("an endpoint that is no text"))?;
        // What an expression has made is a URI already.
        let filled = if resolved == *uri {
            expand(text, &self.secrets.reveal(input.clone()))
        } else {
            text.to_owned()
        };
        let authentication = authentication.unwrap_or(&Value::Null);
        Ok((filled, self.authentication(authentication, input, scope)?))
    }

    fn authentication(
        &self,
        policy: &Value,
        input: &Value,
        scope: Scope<'_>,
    ) -> Result<Option<Authentication>, Error> {
        let policy = match policy.get("use").and_then(Value::as_str) {
            Some(name) => self
                .program
                .definition
                .shared
                .authentications
                .get(name)
                .ok_or_else(|| Error::configuration(format!("no authentication named {name}")))?,
            None => policy,
        };
        let Some((scheme, fields)) = policy.as_object().and_then(|fields| fields.iter().next())
        else {
            return Ok(None);
        };
        let fields = match fields.get("use").and_then(Value::as_str) {
            Some(name) => {
                let secrets = if scope.secrets {
                    self.secrets.real()
                } else {
                    self.secrets.marked()
                };
                let secret = secrets.get(name).cloned();
                secret.ok_or_else(|| Error::authentication(format!("no secret named {name}")))?
            }
            None => self.resolve(fields, input, scope)?,
        };
        let text = |name: &str| {
            let value = fields[name].as_str().map(str::to_owned);
            value.ok_or_else(|| Error::authentication(format!("{scheme} without {name}")))
        };
        Ok(Some(match scheme.as_str() {
            "basic" => Authentication::Basic {
                username: text("username")?,
                password: text("password")?,
            },
            "digest" => Authentication::Digest {
                username: text("username")?,
                password: text("password")?,
            },
            "bearer" => Authentication::Bearer {
                token: match fields.as_str() {
                    Some(token) => token.to_owned(),
                    None => text("token")?,
                },
            },
            "oauth2" => Authentication::OAuth2(fields),
            "oidc" => Authentication::Oidc(fields),
            other => {
                return Err(Error::configuration(format!(
                    "no authentication of the kind {other}"
                )));
            }
        }))
    }

    /// `$authorization` for what is kept of a call: with marks in the place of all that is secret.
    pub(super) fn authorization_kept(&self, thread: u64, frame: &TaskFrame) -> Option<Value> {
        let Kind::Call(name, with) = &self.node(frame).task.kind else {
            return None;
        };
        let policy = match name.as_str() {
            "http" => with["endpoint"].get("authentication")?,
            "openapi" => with.get("authentication")?,
            _ => return None,
        };
        let scope = Self::scope(thread, frame);
        // It was good when the request was made.
        let authentication = self.authentication(policy, frame.input(), scope).ok()??;
        Some(described(&authentication))
    }

    /// The task's raw output from what came of its need.
    pub(super) fn answer(&self, frame: &TaskFrame, outcome: Outcome) -> Result<Value, Error> {
        match (&self.node(frame).task.kind, outcome) {
            (Kind::Wait(_), Outcome::Fired) => Ok(frame.input().clone()),
            (Kind::Call(_, with), Outcome::Response(response)) => {
                let redirect = with["redirect"].as_bool().unwrap_or(false);
                let value = answered(&response, output(with), redirect)?;
                Ok(self.secrets.seal(value))
            }
            (Kind::Call(..), Outcome::Completed(value)) => Ok(self.secrets.seal(value)),
            (Kind::Call(..), Outcome::Done) => Ok(Value::Null),
            (Kind::Run(run), outcome) => self.returned_by(run, frame, outcome),
            _ => Err(Error::runtime("an outcome that does not fit the task")),
        }
    }
}

fn output(with: &Value) -> HttpOutput {
    serde_json::from_value(with["output"].clone()).unwrap_or_default()
}

/// `$authorization`. What its driver finds out has the mark [`PROOF`], which the driver replaces.
fn described(authentication: &Authentication) -> Value {
    let (scheme, parameter) = match authentication {
        Authentication::Basic { username, password } => {
            let pair = format!("{username}:{password}");
            let is_marked = Secrets::marks(&Value::from(&*pair));
            let parameter = (!is_marked).then(|| STANDARD.encode(pair));
            ("Basic", parameter.unwrap_or_else(|| PROOF.to_owned()))
        }
        Authentication::Bearer { token } => ("Bearer", token.clone()),
        Authentication::Digest { .. } => ("Digest", PROOF.to_owned()),
        Authentication::OAuth2(_) | Authentication::Oidc(_) => ("Bearer", PROOF.to_owned()),
    };
    json!({"scheme": scheme, "parameter": parameter})
}

/// Headers or query parameters as texts.
fn texts(value: &Value) -> Result<BTreeMap<String, String>, Error> {
    let text = |(name, value): (&String, &Value)| {
        let text = match value {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Some((name.clone(), text))
    };
    match value {
        Value::Null => Ok(BTreeMap::new()),
        Value::Object(fields) => Ok(fields.iter().filter_map(text).collect()),
        _ => Err(Error::expression("headers and query must be objects")),
    }
}

/// What an answer is for the task.
fn answered(response: &Response, wanted: HttpOutput, redirect: bool) -> Result<Value, Error> {
    let good = if redirect { 200..400 } else { 200..300 };
    if !good.contains(&response.status) {
        let detail = format!(
            "{} {} answered {}",
            response.method, response.uri, response.status
        );
        return Err(Error::communication(response.status, detail));
    }
    if wanted == HttpOutput::Raw {
        return Ok(Value::String(STANDARD.encode(&response.body)));
    }
    let content = content(response)?;
    if wanted == HttpOutput::Content {
        return Ok(content);
    }
    Ok(json!({
        "request": {
            "method": response.method.to_lowercase(),
            "uri": response.uri,
            "headers": response.request_headers,
        },
        "statusCode": response.status,
        "headers": response.headers,
        "content": content,
    }))
}

/// The body, read by its content type.
fn content(response: &Response) -> Result<Value, Error> {
    if response.body.is_empty() {
        return Ok(Value::Null);
    }
    let header = response
        .headers
        .get("content-type")
        .map_or("", String::as_str);
    let kind = header
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_lowercase();
    if kind == "application/json" || kind.ends_with("+json") {
        return serde_json::from_slice(&response.body).map_err(|error| {
            Error::communication(
                502,
                format!("{} answered what is not JSON: {error}", response.uri),
            )
        });
    }
    if kind.starts_with("text/") || kind.ends_with("xml") || kind == "application/yaml" {
        return Ok(Value::String(
            String::from_utf8_lossy(&response.body).into_owned(),
        ));
    }
    Ok(Value::String(STANDARD.encode(&response.body)))
}

/// Fills in a URI template (RFC 6570, level 1): what is not there is nothing.
fn expand(template: &str, data: &Value) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let Some(length) = rest[open..].find('}') else {
            break;
        };
        filled.push_str(&rest[..open]);
        let name = &rest[open + 1..open + length];
        let value = name.split('.').try_fold(data, |data, part| data.get(part));
        match value {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => encode(text, &mut filled),
            Some(other) => encode(&other.to_string(), &mut filled),
        }
        rest = &rest[open + length + 1..];
    }
    filled.push_str(rest);
    filled
}

/// What stands for itself in an address (RFC 3986, section 2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Percent-encodes all but the unreserved characters.
pub(super) fn encode(text: &str, into: &mut String) {
    into.extend(utf8_percent_encode(text, UNRESERVED));
}

//! What a call does outside, and what came of it.

use std::{collections::BTreeMap, fmt::Write as _};

use nself_plugin_api::{
    prelude::{Cx, Result},
    serde_json::{self, Value},
    uuid::Uuid,
};
use serde::Deserialize;

use crate::{
    Orchestrator,
    command::NewCommand,
    engine::{
        Call, CallKind, Error as Fault, FunctionCall, HttpCall, OpenApiCall, Outcome, Response,
        resolve,
    },
    exchange::{Exchange, failed},
};

/// The largest body of an answer.
const BODY_BYTES_MAX: usize = 4 << 20;
/// Headers of a request that a workflow may see: the others may be secret.
const SHOWN_HEADERS: [&str; 4] = ["accept", "content-type", "user-agent", "idempotency-key"];

/// What is to be done with a call.
pub(crate) enum Performed {
    /// It is over.
    Over(Outcome),
    /// A command is to be given to a device, and its end is the call's.
    Command(Uuid, NewCommand),
}

/// A command for a device, as the function `device-command` takes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeviceCommand {
    device: Uuid,
    name: String,
    #[serde(default)]
    input: Value,
    expires_seconds: Option<u32>,
}

/// What of another plugin is called, as the function `capability` takes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CapabilityCall {
    id: String,
    method: String,
    #[serde(default)]
    payload: Value,
}

/// Performs a call.
pub(crate) async fn call(cx: &Cx<Orchestrator>, call: &Call) -> Performed {
    let outcome = match &call.kind {
        CallKind::Http(http) => request(cx, &call.key, http).await,
        CallKind::OpenApi(openapi) => operation(cx, &call.key, openapi).await,
        CallKind::Function(function) => match command(function) {
            Some(Ok((device, new))) => return Performed::Command(device, new),
            Some(Err(fault)) => Err(fault),
            None => capability(cx, function).await,
        },
    };
    Performed::Over(outcome.unwrap_or_else(Outcome::Failed))
}

fn command(function: &FunctionCall) -> Option<Result<(Uuid, NewCommand), Fault>> {
    if function.name != "device-command" {
        return None;
    }
    let read = DeviceCommand::deserialize(&function.arguments);
    let read = read.map_err(|error| Fault::validation(format!("device-command: {error}")));
    Some(read.and_then(|read| {
        let new = NewCommand {
            name: read.name,
            input: read.input,
            expires_seconds: read.expires_seconds,
        };
        let checked = new.check();
        checked.map_err(|error| Fault::validation(format!("device-command: {error}")))?;
        Ok((read.device, new))
    }))
}

async fn capability(cx: &Cx<Orchestrator>, function: &FunctionCall) -> Result<Outcome, Fault> {
    if function.name != "capability" {
        return Err(Fault::configuration(format!(
            "there is no function {:?} on this host: it has job, capability and device-command",
            function.name
        )));
    }
    let call = CapabilityCall::deserialize(&function.arguments)
        .map_err(|error| Fault::validation(format!("capability: {error}")))?;
    let payload =
        serde_json::to_vec(&call.payload).map_err(|error| Fault::runtime(error.to_string()))?;
    match cx.calls().call(&call.id, &call.method, payload).await {
        Ok(answer) => Ok(Outcome::Completed(
            serde_json::from_slice(&answer).unwrap_or_default(),
        )),
        Err(error) if error.code() == "CAPABILITY_NOT_GRANTED" => {
            Err(Fault::authorization(format!(
                "{} is not named in [plugins.orchestrator] capabilities",
                call.id
            )))
        }
        Err(error) => Err(Fault::communication(error.status(), error.to_string())),
    }
}

async fn operation(cx: &Cx<Orchestrator>, key: &str, call: &OpenApiCall) -> Result<Outcome, Fault> {
    let exchange = Exchange {
        method: "GET",
        url: &call.document,
        headers: Vec::new(),
        body: None,
    };
    let authentication = call.document_authentication.as_ref();
    let document = exchange.send(cx, authentication).await?;
    if document.status() != 200 {
        let text = format!("the OpenAPI document was answered {}", document.status());
        return Err(Fault::communication(document.status(), text));
    }
    let bytes = document.bytes(BODY_BYTES_MAX).await;
    let bytes = bytes.map_err(|error| failed(&error))?;
    let document: Value = serde_json::from_slice(&bytes)
        .or_else(|_| serde_norway::from_slice(&bytes))
        .map_err(|_| Fault::configuration("the OpenAPI document is neither JSON nor YAML"))?;
    let http = resolve(&document, call)?;
    request(cx, key, &http).await
}

async fn request(cx: &Cx<Orchestrator>, key: &str, call: &HttpCall) -> Result<Outcome, Fault> {
    let url = with_query(&call.endpoint, &call.query);
    let has = |name: &str| {
        call.headers
            .keys()
            .any(|one| one.eq_ignore_ascii_case(name))
    };
    let given = call.headers.iter();
    let mut headers: Vec<(String, String)> = given
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .collect();
    if !has("idempotency-key") {
        // The same whenever this call is made, and after every crash.
        headers.push(("idempotency-key".to_owned(), format!("\"{key}\"")));
    }
    let body = match &call.body {
        None => None,
        Some(Value::String(text)) if has("content-type") => Some(text.clone()),
        Some(body) => Some(body.to_string()),
    };
    if body.is_some() && !has("content-type") {
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
    }
    let exchange = Exchange {
        method: &call.method,
        url: &url,
        headers,
        body: body.map(String::into_bytes),
    };
    let authentication = call.authentication.as_ref();
    let answer = exchange
        .send(cx, authentication.filter(|_| !has("authorization")))
        .await?;
    let status = answer.status();
    let headers = answer.headers().iter().filter_map(|(name, value)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    });
    let headers: BTreeMap<String, String> = headers.collect();
    let body = answer.bytes(BODY_BYTES_MAX).await;
    let body = body.map_err(|error| failed(&error))?;
    let shown = call
        .headers
        .iter()
        .filter(|(name, _)| SHOWN_HEADERS.contains(&&*name.to_ascii_lowercase()));
    Ok(Outcome::Response(Response {
        method: call.method.clone(),
        uri: without_secrets(&call.endpoint),
        request_headers: shown
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        status,
        headers,
        body: body.to_vec(),
    }))
}

fn with_query(endpoint: &str, query: &BTreeMap<String, String>) -> String {
    let (endpoint, fragment) = endpoint.split_once('#').unwrap_or((endpoint, ""));
    let mut url = endpoint.to_owned();
    for (name, value) in query {
        let sign = if url.contains('?') { '&' } else { '?' };
        let _ = write!(url, "{sign}{}={}", encoded(name), encoded(value));
    }
    if !fragment.is_empty() {
        let _ = write!(url, "#{fragment}");
    }
    url
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// Neither name and password nor query: both are where secrets are written.
fn without_secrets(endpoint: &str) -> String {
    let path = endpoint.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = path.split_once("://") else {
        return path.to_owned();
    };
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(a, p)| (a, p));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}/{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_parameters_are_added_and_escaped() {
        let query = BTreeMap::from([("a b".to_owned(), "ü&".to_owned())]);
        for (endpoint, expected) in [
            ("http://x/y", "http://x/y?a%20b=%C3%BC%26"),
            ("http://x/y?z=1#f", "http://x/y?z=1&a%20b=%C3%BC%26#f"),
        ] {
            assert_eq!(with_query(endpoint, &query), expected);
        }
    }

    #[test]
    fn what_may_be_secret_is_not_shown_of_an_address() {
        let shown = without_secrets("https://me:pass@x.example/y?token=1");
        assert_eq!(shown, "https://x.example/y");
    }
}

//! The request that a command is: over HTTP to the running host, with a pass from its control socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::parser::{Call, Given};
use super::pinned;
use crate::capability::connect::stream::Stream;
use crate::cli::{CliError, Context, Exit, client};

/// Longest answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How much of a file is read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// The header of the PROXY protocol of who speaks for himself.
const NOBODY_ELSE: &[u8] = b"PROXY UNKNOWN\r\n";

/// What stands for itself in an address.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

type RequestBody = UnsyncBoxBody<Bytes, io::Error>;

/// Sends the request and returns `data` of its answer. An answer that is not one document of JSON is handed on as it comes
/// instead, until that ends or is not wanted any more: of any length, and `None` then.
pub(super) fn send(
    context: &Context,
    call: &Call<'_>,
    take: impl FnMut(&[u8]) -> Result<bool, CliError>,
) -> Result<Option<Value>, CliError> {
    let pass = client::request(context, "operator.pass", Value::Null)?;
    let runtime = runtime()?;
    let progress = context.progress(&call.command.name);
    runtime.block_on(async {
        let answer = open(&pass, call, "application/json, application/x-ndjson").await?;
        let status = answer.status();
        if status.is_success() && !is_document(&answer) {
            drop(progress);
            return hand_on(answer, take).await.map(|()| None);
        }
        let body = whole(answer).await?;
        drop(progress);
        read(status, &body).map(Some)
    })
}

/// Whether it says that it is JSON, or nothing at all.
fn is_document(answer: &Response<Incoming>) -> bool {
    let content_type = answer.headers().get(header::CONTENT_TYPE);
    content_type.is_none_or(|value| value.as_bytes().starts_with(b"application/json"))
}

async fn hand_on(
    mut answer: Response<Incoming>,
    mut take: impl FnMut(&[u8]) -> Result<bool, CliError>,
) -> Result<(), CliError> {
    while let Some(frame) = answer.frame().await {
        let frame = frame.map_err(|error| lost(&error.to_string()))?;
        if let Some(chunk) = frame.data_ref()
            && !take(chunk)?
        {
            break;
        }
    }
    Ok(())
}

/// Sends the request and hands on its answer as it comes, until that ends or is not wanted any more.
pub(super) fn stream(
    context: &Context,
    call: &Call<'_>,
    take: impl FnMut(&[u8]) -> Result<bool, CliError>,
) -> Result<(), CliError> {
    let pass = client::request(context, "operator.pass", Value::Null)?;
    runtime()?.block_on(async {
        let answer = open(&pass, call, "text/event-stream").await?;
        if !answer.status().is_success() {
            let status = answer.status();
            return read(status, &whole(answer).await?).map(|_| ());
        }
        hand_on(answer, take).await
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(|error| CliError::of("INTERNAL", Exit::Failed, &error))
}

async fn whole(answer: Response<Incoming>) -> Result<Bytes, CliError> {
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
    let body = body.collect().await;
    Ok(body.map_err(|error| lost(&error.to_string()))?.to_bytes())
}

/// Sends the request; the head of its answer. The connection ends with the runtime.
async fn open(
    pass: &Value,
    call: &Call<'_>,
    accept: &'static str,
) -> Result<Response<Incoming>, CliError> {
    let key = pass["key"].as_str().unwrap_or_default();
    let gateway = pass["gateway"].as_str().and_then(|text| text.parse().ok());
    let gateway = reachable(gateway.ok_or_else(|| lost("it does not say where it listens"))?);
    let (content_type, body) = body(call).await?;
    let mut request = Request::builder()
        .method(call.command.method.as_str())
        .uri(address(call))
        .header(header::HOST, gateway.to_string())
        .header(header::ACCEPT, accept)
        .header("x-api-key", key);
    if let Some(content_type) = content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    let request = request
        .body(body)
        .map_err(|error| CliError::of("USAGE", Exit::Usage, &error))?;
    let stream = connect(gateway, pass)
        .await
        .map_err(|error| lost(&error.to_string()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| lost(&error.to_string()))?;
    tokio::spawn(connection);
    let answer = sender.send_request(request).await;
    answer.map_err(|error| lost(&error.to_string()))
}

/// A connection to the host: where its port speaks TLS, to the one that shows the certificate of this SHA-256. The control socket has said it,
/// so it does not matter what name it is for and who has signed it.
async fn connect(gateway: SocketAddr, pass: &Value) -> io::Result<Stream> {
    let mut stream = TcpStream::connect(gateway).await?;
    if is_proxy(pass, stream.local_addr()?.ip()) {
        stream.write_all(NOBODY_ELSE).await?;
    }
    let Some(certificate) = pass["certificate"].as_str() else {
        return Ok(Stream::Plain(stream));
    };
    let connector = pinned::connector(certificate).map_err(io::Error::other)?;
    let stream = connector.connect(gateway.ip().into(), stream).await?;
    Ok(Stream::Tls(Box::new(stream)))
}

/// Whether whoever comes from this address has to say whom he speaks for.
fn is_proxy(pass: &Value, own: IpAddr) -> bool {
    let proxies = pass["proxies"].as_array().into_iter().flatten();
    let mut networks = proxies.filter_map(|text| text.as_str()?.parse::<IpNet>().ok());
    networks.any(|network| network.contains(&own.to_canonical()))
}

/// Where a host that listens everywhere is reached from here.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

/// Path and query.
fn address(call: &Call<'_>) -> String {
    let encoded = |given: &Given| utf8_percent_encode(&given.text(), PLAIN).to_string();
    let (mut path, mut query) = (call.command.path.clone(), Vec::new());
    for argument in &call.command.arguments {
        let Some(given) = call.values.get(argument.name.as_str()) else {
            continue;
        };
        if call.command.is_in_path(argument) {
            path = path.replace(&format!("{{{}}}", argument.name), &encoded(given));
        } else if !call.command.has_body() && Some(&argument.name) != file_name(call) {
            query.push(format!("{}={}", argument.name, encoded(given)));
        }
    }
    if !query.is_empty() {
        path.push('?');
        path.push_str(&query.join("&"));
    }
    path
}

fn file_name<'a>(call: &Call<'a>) -> Option<&'a String> {
    call.command.file().map(|argument| &argument.name)
}

async fn body(call: &Call<'_>) -> Result<(Option<&'static str>, RequestBody), CliError> {
    let whole = |bytes: Vec<u8>| {
        let body = Full::new(Bytes::from(bytes));
        body.map_err(|never| match never {}).boxed_unsync()
    };
    if let Some(name) = file_name(call) {
        let path = call.values.get(name.as_str()).map(Given::text);
        let path = path.unwrap_or_default();
        return Ok((Some(content_type(&path)), streamed(&path).await?));
    }
    if !call.command.has_body() {
        return Ok((None, whole(Vec::new())));
    }
    let fields = Value::Object(fields(call)).to_string();
    Ok((Some("application/json"), whole(fields.into_bytes())))
}

/// What stands in a JSON body: what it always has, and what was given beside the path.
fn fields(call: &Call<'_>) -> Map<String, Value> {
    let mut fields = call.command.body.clone().unwrap_or_default();
    for argument in &call.command.arguments {
        let given = call.values.get(argument.name.as_str());
        if let Some(given) = given.filter(|_| !call.command.is_in_path(argument)) {
            let value = match given {
                Given::Text(text) => Value::from(text.as_str()),
                Given::Integer(number) => Value::from(*number),
                Given::Flag => Value::from(true),
                Given::Json(value) => value.clone(),
            };
            fields.insert(argument.name.clone(), value);
        }
    }
    fields
}

/// By the ending of the name.
fn content_type(path: &str) -> &'static str {
    let ending = Path::new(path)
        .extension()
        .and_then(|ending| ending.to_str());
    match ending {
        Some("csv") => "text/csv",
        Some("json") => "application/json",
        Some("ndjson" | "jsonl") => "application/x-ndjson",
        _ => "application/octet-stream",
    }
}

async fn streamed(path: &str) -> Result<RequestBody, CliError> {
    let source = if path == "-" { "/dev/stdin" } else { path };
    let file = tokio::fs::File::open(source).await.map_err(|error| {
        let message = format!("cannot read {path}");
        CliError::new("INPUT_FILE", Exit::BadData, message).with_cause(error.to_string())
    })?;
    Ok(chunks(file))
}

fn chunks(source: impl AsyncRead + Send + Unpin + 'static) -> RequestBody {
    let read = stream::try_unfold(source, |mut source| async move {
        let mut chunk = vec![0; CHUNK_BYTES];
        let length = source.read(&mut chunk).await?;
        chunk.truncate(length);
        let frame = (length > 0).then(|| Frame::data(Bytes::from(chunk)));
        Ok(frame.map(|frame| (frame, source)))
    });
    StreamBody::new(read).boxed_unsync()
}

fn read(status: StatusCode, body: &[u8]) -> Result<Value, CliError> {
    let answer: Value = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(body)
            .map_err(|error| lost(&format!("its answer is not JSON: {error}")))?
    };
    if status.is_success() {
        return Ok(match answer {
            Value::Object(mut answer) if answer.contains_key("data") => answer["data"].take(),
            other => other,
        });
    }
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    let exit = match status.as_u16() {
        400 | 413 | 415 | 422 => Exit::BadData,
        401 | 403 => Exit::Permission,
        429 | 503 => Exit::TryAgain,
        _ => Exit::Failed,
    };
    let (code, message) = (text("code"), text("error"));
    let code = if code.is_empty() { "INTERNAL" } else { &code };
    let error = CliError::new(code, exit, message);
    Err(match &answer["details"] {
        Value::Null => error,
        Value::Object(details) if details.is_empty() => error,
        details => error.with_cause(details.to_string()),
    })
}

fn lost(cause: &str) -> CliError {
    CliError::new(
        "HOST_LOST",
        Exit::Unavailable,
        "the host did not answer the command",
    )
    .with_cause(cause)
    .with_help("see whether it still runs: `nself status`")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugin::manifest::Command;

    fn command(command: Value) -> Command {
        serde_json::from_value(command).expect("a command")
    }

    fn text(text: &str) -> Given {
        Given::Text(text.to_owned())
    }

    #[test]
    fn arguments_become_path_query_or_body() {
        let arguments = json!([
            {"name": "id", "kind": "text"}, {"name": "why", "kind": "text"},
            {"name": "limit", "kind": "integer"}, {"name": "now", "kind": "flag"},
        ]);
        let values = || {
            [
                ("id", text("a/b?c")),
                ("why", text("x & y")),
                ("limit", Given::Integer(3)),
                ("now", Given::Flag),
            ]
        };
        let get = command(
            json!({"name": "x", "method": "GET", "path": "/x/{id}", "arguments": arguments}),
        );
        let call = Call {
            command: &get,
            values: values().into(),
        };
        assert_eq!(
            address(&call),
            "/x/a%2Fb%3Fc?why=x%20%26%20y&limit=3&now=true"
        );
        let post = command(
            json!({"name": "x", "method": "POST", "path": "/x/{id}", "arguments": arguments, "body": {"state": "on"}}),
        );
        let call = Call {
            command: &post,
            values: values().into(),
        };
        assert_eq!(address(&call), "/x/a%2Fb%3Fc");
        assert_eq!(
            Value::Object(fields(&call)),
            json!({"state": "on", "why": "x & y", "limit": 3, "now": true})
        );
    }

    #[test]
    fn with_a_file_the_rest_is_the_query() {
        let arguments =
            json!([{"name": "file", "kind": "file"}, {"name": "format", "kind": "text"}]);
        let import =
            command(json!({"name": "x", "method": "POST", "path": "/x", "arguments": arguments}));
        let call = Call {
            command: &import,
            values: [("file", text("a.csv")), ("format", text("f"))].into(),
        };
        assert_eq!(address(&call), "/x?format=f");
        assert_eq!(content_type("a.csv"), "text/csv");
        assert_eq!(content_type("-"), "application/octet-stream");
    }

    #[test]
    fn an_answer_is_its_data_or_an_error() {
        let done = read(StatusCode::OK, br#"{"data":[1]}"#).expect("it is fine");
        assert_eq!(done, json!([1]));
        let body = br#"{"error":"no such thing","code":"NOT_FOUND","details":{"id":1}}"#;
        let failed = read(StatusCode::NOT_FOUND, body).expect_err("it is not there");
        assert_eq!(
            (failed.code.as_str(), failed.exit),
            ("NOT_FOUND", Exit::Failed)
        );
        assert_eq!(failed.causes, [r#"{"id":1}"#]);
    }

    #[test]
    fn a_host_that_listens_everywhere_is_reached_here() {
        let reached = |text: &str| reachable(text.parse().expect("an address")).to_string();
        assert_eq!(reached("0.0.0.0:3000"), "127.0.0.1:3000");
        assert_eq!(reached("[::]:3000"), "[::1]:3000");
        assert_eq!(reached("10.0.0.1:3000"), "10.0.0.1:3000");
    }
}

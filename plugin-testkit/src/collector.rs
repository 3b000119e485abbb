//! A collector of OpenTelemetry that is strict: what it does not understand to the last byte is a fault of who has sent it.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io::Read as _,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::ExportMetricsServiceRequest,
        trace::v1::{
            ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        },
    },
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::Metric,
    resource::v1::Resource,
    trace::v1::Span,
};
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket},
    time::Instant,
};
use tokio_rustls::TlsAcceptor;

use crate::wait::eventually;

/// The official messages.
pub use opentelemetry_proto::tonic as otlp;

/// What the collector does with what it is sent.
#[derive(Debug, Clone)]
pub enum Reaction {
    /// It takes it.
    Take,
    /// It takes all but so many, and says this.
    TakeBut(i64, String),
    /// It answers with a status, and when to come again.
    Refuse(u16, Option<u64>),
    /// It says 200 and something that nobody can read.
    Babble,
    /// It never answers.
    BeSilent,
}

/// One request to it.
#[derive(Debug, Clone)]
pub struct Export {
    /// Where to.
    pub path: String,
    /// With what.
    pub headers: HeaderMap,
    /// What was in it, unpacked.
    pub message: Vec<u8>,
    /// When it came.
    pub at: Instant,
    /// Whether it was taken.
    pub is_taken: bool,
}

/// A collector of a test's own. It ends with the test.
pub struct Collector {
    address: SocketAddr,
    scheme: &'static str,
    book: Arc<Mutex<Book>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Book {
    exports: Vec<Export>,
    faults: Vec<String>,
    next: VecDeque<Reaction>,
    always: Reaction,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    /// Starts one that takes everything.
    pub fn start() -> Self {
        Self::listening(bound(), None)
    }

    /// The same behind TLS.
    pub fn start_tls(acceptor: TlsAcceptor) -> Self {
        Self::listening(bound(), Some(acceptor))
    }

    /// The same at an address that is taken and where nobody has listened so far.
    pub fn start_on(socket: TcpSocket) -> Self {
        Self::listening(socket, None)
    }

    fn listening(socket: TcpSocket, acceptor: Option<TlsAcceptor>) -> Self {
        let listener = socket.listen(64).expect("it is bound");
        let address = listener.local_addr().expect("it is bound");
        let scheme = acceptor.as_ref().map_or("http", |_| "https");
        let book = Arc::new(Mutex::new(Book {
            exports: Vec::new(),
            faults: Vec::new(),
            next: VecDeque::new(),
            always: Reaction::Take,
        }));
        let task = tokio::spawn(accept(listener, acceptor, Arc::clone(&book)));
        Self {
            address,
            scheme,
            book,
            task,
        }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The configuration of a host that exports to it: traces at once, metrics ten times a second.
    pub fn config(&self) -> String {
        let (scheme, port) = (self.scheme, self.address.port());
        format!(
            "[telemetry]\nendpoint = \"{scheme}://localhost:{port}\"\nmetric_export_interval_ms = 100\n"
        )
    }

    /// The same for traces alone.
    pub fn config_of_traces(&self) -> String {
        self.config() + "metrics_exporter = \"none\"\n"
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it does with the next requests, one after the other.
    pub fn react(&self, reactions: &[Reaction]) {
        self.book().next.extend(reactions.iter().cloned());
    }

    /// What it does from now on.
    pub fn always(&self, reaction: Reaction) {
        self.book().always = reaction;
    }

    /// Everything that it was sent.
    ///
    /// # Panics
    ///
    /// When something of it was wrong.
    #[track_caller]
    pub fn exports(&self) -> Vec<Export> {
        let book = self.book();
        assert!(book.faults.is_empty(), "{:#?}", book.faults);
        book.exports.clone()
    }

    /// All spans that it has taken.
    pub fn spans(&self) -> Vec<Span> {
        let exports = self.exports().into_iter();
        let traces = exports.filter(|one| one.is_taken && one.path.ends_with("/v1/traces"));
        traces.flat_map(|export| spans(&export.message)).collect()
    }

    /// Waits for a span that is like that.
    pub async fn span(&self, what: &str, is_it: impl Fn(&Span) -> bool) -> Span {
        eventually(what, async || self.spans().into_iter().find(&is_it)).await
    }

    /// The metrics that came last.
    pub fn metrics(&self) -> Vec<Metric> {
        let exports = self.exports().into_iter().rev();
        let mut metrics = exports.filter(|one| one.is_taken && one.path.ends_with("/v1/metrics"));
        let Some(last) = metrics.next() else {
            return Vec::new();
        };
        let request = ExportMetricsServiceRequest::decode(&*last.message);
        let request = request.expect("it was decoded when it came");
        let of_resources = request.resource_metrics.into_iter();
        let of_scopes = of_resources.flat_map(|one| one.scope_metrics);
        of_scopes.flat_map(|one| one.metrics).collect()
    }

    /// Who has sent the last traces.
    ///
    /// # Panics
    ///
    /// When there were none.
    pub fn resource(&self) -> Resource {
        let exports = self.exports().into_iter().rev();
        let mut traces = exports.filter(|one| one.path.ends_with("/v1/traces"));
        let last = traces.next().expect("traces came");
        let request = ExportTraceServiceRequest::decode(&*last.message);
        let mut request = request.expect("it was decoded when it came");
        let first = request.resource_spans.remove(0);
        first.resource.expect("spans have a resource")
    }

    /// All bytes of all messages as text, to look for what must not be there.
    pub fn text(&self) -> String {
        let exports = self.exports();
        let texts = exports
            .iter()
            .map(|export| String::from_utf8_lossy(&export.message));
        texts.collect()
    }
}

fn bound() -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("there are sockets");
    let bound = socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)));
    bound.expect("there are ports");
    socket
}

/// The attribute of that name, as text.
pub fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

fn spans(message: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(message);
    let of_resources = request.unwrap_or_default().resource_spans.into_iter();
    let of_scopes = of_resources.flat_map(|one| one.scope_spans);
    of_scopes.flat_map(|one| one.spans).collect()
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, book: Arc<Mutex<Book>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, book) = (acceptor.clone(), Arc::clone(&book));
        tokio::spawn(async move {
            match acceptor {
                None => serve(stream, book).await,
                // Who does not trust it is gone.
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, book).await;
                    }
                }
            }
        });
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    book: Arc<Mutex<Book>>,
) {
    let service = service_fn(move |request| answer(request, Arc::clone(&book)));
    let server = auto::Builder::new(TokioExecutor::new());
    // A connection that is cut is the test's intent.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    book: Arc<Mutex<Book>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let at = Instant::now();
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(Collected::to_bytes);
    let message = checked(&head, &body.unwrap_or_default());
    let reaction = {
        let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
        let next = book.next.pop_front();
        let reaction = next.unwrap_or_else(|| book.always.clone());
        match message {
            Err(fault) => book.faults.push(fault),
            Ok(message) => book.exports.push(Export {
                path: head.uri.path().to_owned(),
                headers: head.headers,
                message,
                at,
                is_taken: matches!(reaction, Reaction::Take | Reaction::TakeBut(..)),
            }),
        }
        reaction
    };
    let mut response = Response::new(Full::default());
    match reaction {
        Reaction::Take => {}
        Reaction::TakeBut(rejected, error_message) => {
            // The field numbers of both signals' answers are the same.
            let partial_success = Some(ExportTracePartialSuccess {
                rejected_spans: rejected,
                error_message,
            });
            let answer = ExportTraceServiceResponse { partial_success };
            *response.body_mut() = answer.encode_to_vec().into();
        }
        Reaction::Refuse(status, again) => {
            *response.status_mut() = status.try_into().expect("a status");
            if let Some(seconds) = again {
                let headers = response.headers_mut();
                headers.insert(header::RETRY_AFTER, seconds.into());
            }
        }
        Reaction::Babble => *response.body_mut() = "<html>It works!</html>".into(),
        Reaction::BeSilent => tokio::time::sleep(Duration::from_secs(3_600)).await,
    }
    Ok(response)
}

/// The message, if nothing of the request is wrong.
fn checked(head: &http::request::Parts, body: &[u8]) -> Result<Vec<u8>, String> {
    let is = |name, expected: &str| {
        let value = head.headers.get(&name);
        if value.is_some_and(|value| value == expected) {
            return Ok(());
        }
        Err(format!("{name}: {value:?}"))
    };
    if head.method != Method::POST {
        return Err(format!("the method {}", head.method));
    }
    is(header::CONTENT_TYPE, "application/x-protobuf")?;
    is(header::CONTENT_ENCODING, "gzip")?;
    let mut message = Vec::new();
    let unpacked = GzDecoder::new(body).read_to_end(&mut message);
    unpacked.map_err(|error| format!("gzip: {error}"))?;
    let again = match head.uri.path() {
        path if path.ends_with("/v1/traces") => {
            let request = ExportTraceServiceRequest::decode(&*message);
            request.map_err(|error| error.to_string())?.encode_to_vec()
        }
        path if path.ends_with("/v1/metrics") => {
            let request = ExportMetricsServiceRequest::decode(&*message);
            request.map_err(|error| error.to_string())?.encode_to_vec()
        }
        path => return Err(format!("the path {path}")),
    };
    if again != message {
        return Err("it holds what the official messages do not".to_owned());
    }
    for span in spans(&message) {
        check_span(&span)?;
    }
    Ok(message)
}

fn check_span(span: &Span) -> Result<(), String> {
    let mut keys: Vec<&str> = span.attributes.iter().map(|one| &*one.key).collect();
    keys.sort_unstable();
    let all = keys.len();
    keys.dedup();
    let ids = [
        (&span.trace_id, 16),
        (&span.span_id, 8),
        (&span.parent_span_id, 8),
    ];
    let is_id = |(id, length): &(&Vec<u8>, usize)| {
        id.is_empty() || id.len() == *length && id.iter().any(|byte| *byte != 0)
    };
    let is_good = ids.iter().all(is_id)
        && !span.trace_id.is_empty()
        && !span.span_id.is_empty()
        && !span.name.is_empty()
        && span.kind != 0
        && span.start_time_unix_nano > 0
        && span.end_time_unix_nano >= span.start_time_unix_nano
        && keys.len() == all
        && span.attributes.iter().all(|one| one.value.is_some());
    if is_good {
        Ok(())
    } else {
        Err(format!("a span: {span:#?}"))
    }
}

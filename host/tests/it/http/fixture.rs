//! A host with handlers instead of plugins, and callers for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use nself::http::health::{Part, Readiness, health_routes, metrics_route};
use nself::http::openapi::openapi_route;
use nself::http::reference::reference_routes;
use nself::http::table::Routes;
use nself::http::tls::Tls;
use nself::http::{
    Admitted, Body, Gateway, Generation, HostRoute, HttpMetrics, NewRoute, RouteTable, Server,
    Settings, Target,
};
use nself::identity::{Verifier, VerifierSettings};
use nself::plugin::manifest::{Access, Route};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest wait for anything in these tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A handler from an async function.
struct Handler<F>(F);

impl<F, A> Target for Handler<F>
where
    F: Fn(Admitted) -> A + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    fn call(&self, request: Admitted) -> BoxFuture<'static, Response<Body>> {
        Box::pin((self.0)(request))
    }
}

pub(crate) fn route(method: &str, path: &str) -> Route {
    Route {
        method: method.to_owned(),
        path: path.to_owned(),
        access: Access::Public,
        summary: "A route of a test".to_owned(),
        body_bytes_max: None,
        timeout_ms: None,
        rate_per_minute: None,
        params: None,
        request: None,
        query: None,
        response: None,
        kind: "json".to_owned(),
        graphql: None,
    }
}

/// A route of a generation, answered by an async function.
pub(crate) fn answered<F, A>(generation: &Arc<Generation>, route: Route, handler: F) -> NewRoute
where
    F: Fn(Admitted) -> A + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    NewRoute {
        plugin: Arc::clone(generation.plugin()),
        number: 0,
        route: Arc::new(route),
        target: Arc::new(Handler(handler)),
        generation: Arc::clone(generation),
    }
}

pub(crate) async fn hello(_: Admitted) -> Response<Body> {
    said("hello")
}

pub(crate) fn said(text: &'static str) -> Response<Body> {
    Response::new(Body::from(Bytes::from_static(text.as_bytes())))
}

/// Reads the whole body and says how long it was.
pub(crate) async fn count(request: Admitted) -> Response<Body> {
    match request.body.collect().await {
        Ok(body) => Response::new(Body::from(Bytes::from(body.to_bytes().len().to_string()))),
        Err(error) => {
            let mut response = Response::new(Body::from(Bytes::from(error.to_string())));
            *response.status_mut() = StatusCode::IM_A_TEAPOT;
            response
        }
    }
}

pub(crate) fn generation(plugin: &str) -> Arc<Generation> {
    Generation::new(plugin, 64, 64)
}

/// What a host of a test is made of.
pub(crate) struct Setup {
    pub(crate) routes: Vec<NewRoute>,
    pub(crate) settings: Settings,
    pub(crate) identity: VerifierSettings,
    pub(crate) ready: bool,
    pub(crate) tls: Option<Arc<Tls>>,
}

impl Setup {
    pub(crate) fn new(routes: Vec<NewRoute>) -> Self {
        Self {
            routes,
            settings: Settings::default(),
            identity: VerifierSettings::default(),
            ready: true,
            tls: None,
        }
    }

    pub(crate) async fn start(self) -> Host {
        let registry = prometheus::Registry::new();
        let metrics = HttpMetrics::new(&registry).unwrap();
        if let Some(tls) = &self.tls {
            tls.register(&registry).unwrap();
        }
        let routes = Routes::new();
        let host = host_routes(&routes, &metrics, registry.clone(), self.ready);
        let table = RouteTable::build(&host, self.routes, &self.settings.limits, &metrics).unwrap();
        routes.swap(table);
        let verifier = Arc::new(Verifier::new(self.identity).unwrap());
        let limits = self.settings.limits.clone();
        let gateway = Gateway::new(
            routes,
            Arc::clone(&verifier),
            self.settings,
            metrics.clone(),
            None,
        );
        let server = Arc::new(Server::with_tls(Arc::clone(&gateway), self.tls));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let address = server.listen(None, any, "http.port").await.unwrap();
        Host {
            gateway,
            server,
            address,
            metrics,
            registry,
            verifier,
            own_routes: host,
            limits,
        }
    }
}

fn host_routes(
    routes: &Arc<Routes>,
    metrics: &HttpMetrics,
    registry: prometheus::Registry,
    ready: bool,
) -> Vec<HostRoute> {
    let part = Part {
        ready,
        state: "started".to_owned(),
        reason: None,
    };
    let readiness = Readiness {
        ready,
        parts: [("notes".to_owned(), part)].into(),
    };
    let mut all = health_routes(move || readiness.clone());
    let (metrics, table) = (metrics.clone(), Arc::downgrade(routes));
    all.push(metrics_route(Access::Operator, move || {
        if let Some(routes) = table.upgrade() {
            metrics.observe(&routes.load());
        }
        prometheus::TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap()
    }));
    all.push(openapi_route(routes, Access::Public));
    all.extend(reference_routes(&Access::Public));
    all
}

/// A running host.
pub(crate) struct Host {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) server: Arc<Server>,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: HttpMetrics,
    registry: prometheus::Registry,
    pub(crate) verifier: Arc<Verifier>,
    own_routes: Vec<HostRoute>,
    limits: nself::http::Limits,
}

impl Host {
    /// Puts other plugin routes in force.
    pub(crate) fn swap(&self, routes: Vec<NewRoute>) {
        let table =
            RouteTable::build(&self.own_routes, routes, &self.limits, &self.metrics).unwrap();
        self.gateway.routes().swap(table);
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path)).await
    }

    /// Sends a request over HTTP/1.1, on a connection of its own.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        send(&client(false), self.address, request).await
    }

    /// All its numbers, as they are scraped.
    pub(crate) fn numbers(&self) -> String {
        prometheus::TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap()
    }

    /// Sends bytes as they are and reads until the host closes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        raw(self.address, bytes).await
    }
}

pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read_to_end(&mut stream).await
}

pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(PATIENCE, read)
        .await
        .expect("the host closes in time")
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) type TestClient = Client<HttpConnector, Full<Bytes>>;

pub(crate) fn client(http2: bool) -> TestClient {
    Client::builder(TokioExecutor::new())
        .http2_only(http2)
        .build_http()
}

pub(crate) fn request(method: Method, path: &str) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().unwrap();
    request
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) async fn send(
    client: &TestClient,
    address: SocketAddr,
    mut request: Request<Full<Bytes>>,
) -> Answer {
    *request.uri_mut() = format!("http://{address}{}", request.uri())
        .parse()
        .unwrap();
    let whole = async {
        let (parts, body) = client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    };
    tokio::time::timeout(PATIENCE, whole)
        .await
        .expect("an answer comes in time")
}

//! The plugin's handlers once more, compiled into the host: what the boundary is compared with.

use std::sync::Arc;

use bytes::Bytes;
use deadpool_postgres::Pool;
use futures_util::{FutureExt, SinkExt, StreamExt, future::BoxFuture};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use nself::{
    http::{Admitted, Body, Generation, NewRoute, Target},
    plugin::manifest::{Access, Route},
};
use tokio_postgres::Row;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};
use uuid::Uuid;

const MARK: HeaderName = HeaderName::from_static("x-mark");
const ONE: &str = "select id, family_id, name, amount, created_at from bench00.items where id = $1";
const ALL: &str = "select id, family_id, name, amount, created_at from bench00.items";

/// A handler from an async function.
struct Native<F>(F);

impl<F, A> Target for Native<F>
where
    F: Fn(Admitted) -> A + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    fn call(&self, request: Admitted) -> BoxFuture<'static, Response<Body>> {
        (self.0)(request).boxed()
    }
}

/// The routes below `/native`, as if they were a plugin's.
pub(crate) fn routes(pool: &Pool) -> Vec<NewRoute> {
    let generation = Generation::new("native", 512, 512);
    let new = |method: &str, path: &str, kind: &str, target: Arc<dyn Target>| NewRoute {
        plugin: Arc::clone(generation.plugin()),
        number: 0,
        route: Arc::new(route(method, path, kind)),
        target,
        generation: Arc::clone(&generation),
    };
    let (one_pool, all_pool) = (pool.clone(), pool.clone());
    vec![
        new("POST", "/native/echo", "raw", Arc::new(Native(echo))),
        new(
            "GET",
            "/native/socket",
            "websocket",
            Arc::new(Native(socket)),
        ),
        new(
            "GET",
            "/native/item/{id}",
            "raw",
            Arc::new(Native(move |request| one(one_pool.clone(), request))),
        ),
        new(
            "GET",
            "/native/items",
            "raw",
            Arc::new(Native(move |_| all(all_pool.clone()))),
        ),
    ]
}

fn route(method: &str, path: &str, kind: &str) -> Route {
    Route {
        method: method.to_owned(),
        path: path.to_owned(),
        access: Access::Public,
        summary: String::new(),
        body_bytes_max: None,
        timeout_ms: None,
        rate_per_minute: None,
        params: None,
        request: None,
        query: None,
        response: None,
        kind: kind.to_owned(),
        graphql: None,
    }
}

async fn echo(request: Admitted) -> Response<Body> {
    let mark = request.parts.headers.get(MARK).cloned();
    let Ok(body) = request.body.collect().await else {
        return failed();
    };
    let mut response = Response::new(Body::from(body.to_bytes()));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    if let Some(mark) = mark {
        headers.insert(MARK, mark);
    }
    response
}

fn failed() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

async fn socket(mut request: Admitted) -> Response<Body> {
    let key = request.parts.headers.remove(header::SEC_WEBSOCKET_KEY);
    let (Some(key), Some(upgrade)) = (key, request.upgrade) else {
        return failed();
    };
    let in_flight = request.in_flight;
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let io = TokioIo::new(upgraded);
            let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
            while let Some(Ok(message)) = socket.next().await {
                if message.is_close() || socket.send(message).await.is_err() {
                    break;
                }
            }
        }
        drop(in_flight);
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
    headers.insert(
        header::SEC_WEBSOCKET_ACCEPT,
        accept.expect("base64 is header text"),
    );
    response
}

async fn one(pool: Pool, request: Admitted) -> Response<Body> {
    let id: i64 = match request.params.first().map(|(_, value)| value.parse()) {
        Some(Ok(id)) => id,
        _ => return failed(),
    };
    let read = async {
        let client = pool.get().await.ok()?;
        let statement = client.prepare_cached(ONE).await.ok()?;
        weight(&client.query_one(&statement, &[&id]).await.ok()?)
    };
    read.await.map_or_else(failed, answer)
}

async fn all(pool: Pool) -> Response<Body> {
    let read = async {
        let client = pool.get().await.ok()?;
        let statement = client.prepare_cached(ALL).await.ok()?;
        let rows = client.query(&statement, &[]).await.ok()?;
        let weights: Option<Vec<i64>> = rows.iter().map(weight).collect();
        Some(weights?.into_iter().sum())
    };
    read.await.map_or_else(failed, answer)
}

/// Reads every column, as the plugin does.
fn weight(row: &Row) -> Option<i64> {
    let (id, family): (i64, Uuid) = (row.try_get(0).ok()?, row.try_get(1).ok()?);
    let (name, amount): (&str, i64) = (row.try_get(2).ok()?, row.try_get(3).ok()?);
    let created: Timestamp = row.try_get(4).ok()?;
    let name_bytes = i64::try_from(name.len()).unwrap_or_default();
    Some(id + i64::from(family.as_bytes()[0] & 1) + name_bytes + amount + (created.as_second() & 1))
}

fn answer(sum: i64) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from(sum.to_string())));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

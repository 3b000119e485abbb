//! The bridge between HTTP and a plugin: an admitted request becomes the boundary's lazy view, the answer comes back.

mod head;
mod websocket;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt, TryStreamExt,
    future::{BoxFuture, ready},
    stream,
};
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use nself_plugin_api::abi::{
    error::{Error, KIND_PANIC},
    instance::Instance,
    request::Request,
    response::{self, NotHttp, read_headers},
    stream::Stream,
};
use serde_json::{Value, json};
use tracing::{Instrument, Span, error, info_span};

use self::{
    head::Head,
    websocket::{Handshake, Service, Terms},
};
use super::{instance::Running, watchdog::Watch};
use crate::{
    capability::caller::{self, Caller},
    http::{Admitted, Body, BodyError, BoxError, Limits, Problem, RequestBody, Target},
    telemetry::trace::Kind,
};

/// One route of one running plugin.
pub struct PluginRoute {
    running: Arc<Running>,
    number: u32,
    websockets: Terms,
}

impl PluginRoute {
    /// The route with that number in the manifest.
    pub fn new(running: Arc<Running>, number: u32, limits: &Limits) -> Self {
        Self {
            running,
            number,
            websockets: Terms::new(limits),
        }
    }
}

impl Target for PluginRoute {
    fn call(&self, mut admitted: Admitted) -> BoxFuture<'static, Response<Body>> {
        let running = Arc::clone(&self.running);
        let (number, websockets) = (self.number, self.websockets);
        let span = info_span!("request", plugin = running.id(), request_id = %admitted.request_id);
        let handler = admitted.trace.begin(Kind::Internal, "handler");
        if let Some(handler) = &handler {
            admitted.trace = handler.trace();
        }
        let (trace, principal) = (admitted.trace.clone(), admitted.principal.clone());
        async move {
            let answered = answer(&running, number, websockets, admitted);
            let caller = Caller::of_request(principal);
            let response = trace.scope(caller::scope(caller, answered)).await;
            if let Some(mut handler) = handler {
                handler.text("nself.plugin", running.id());
                match response.status() {
                    status if status.is_server_error() => handler.fail(status.as_str()),
                    _ => handler.succeed(),
                }
            }
            response
        }
        .instrument(span)
        .boxed()
    }
}

async fn answer(
    running: &Arc<Running>,
    number: u32,
    websockets: Terms,
    admitted: Admitted,
) -> Response<Body> {
    let Admitted {
        parts,
        body,
        params,
        principal,
        request_id,
        trace,
        peer,
        upgrade,
        in_flight,
        ..
    } = admitted;
    let handshake = Handshake::read(&parts.headers, websockets);
    let head = Head::new(parts, params, principal, &request_id, trace.context(), peer);
    let request = Request::new(Box::new(head), body_stream(body).await);
    let instance: &Instance = running.instance();
    let watch = running.watches().route(number);
    let answered = match watch.future(instance.handle(number, request)).await {
        Ok(answered) => answered,
        Err(failure) => return refuse(&failure),
    };
    let (status, block, body) = answered.into_parts();
    let mut response = match body {
        response::Body::Bytes(bytes) => Response::new(Body::from(Bytes::from(bytes))),
        response::Body::Stream(stream) => Response::new(stream_body(stream, watch)),
        response::Body::Upgrade(serve) => {
            let service = Service {
                serve,
                in_flight,
                terms: websockets,
                watch,
                hub: Arc::clone(running.hub()),
            };
            match websocket::accept(handshake, upgrade, service) {
                Ok(response) => response,
                Err(problem) => return problem.into_response(),
            }
        }
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        *response.status_mut() =
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    }
    if let Err(NotHttp { name }) = read_headers(block, response.headers_mut()) {
        error!(header = %name, "the plugin answered with a header that HTTP does not allow");
        return Problem::internal().into_response();
    }
    response
}

/// A body up to this size is whole before the plugin is asked: its handler then runs through in one poll, instead of
/// waiting across the boundary for bytes that are on their way anyway.
const WHOLE_BYTES_MAX: u64 = 16 * 1024;

/// The body as the plugin reads it; a request without one costs no allocation.
async fn body_stream(body: RequestBody) -> Stream {
    if body.is_end_stream() {
        return Stream::empty();
    }
    if body
        .size_hint()
        .upper()
        .is_some_and(|bytes| bytes <= WHOLE_BYTES_MAX)
    {
        return match whole(body).await {
            Ok(bytes) => Stream::whole(bytes),
            Err(error) => Stream::new(stream::once(ready(Err(body_error(&error))))),
        };
    }
    Stream::new(BodyStream::new(body).map(|frame| {
        let data = frame
            .map_err(|error| body_error(&error))?
            .into_data()
            .unwrap_or_default();
        Ok(data.into())
    }))
}

/// All of a small body. It usually comes in one piece, which is passed on as it is.
async fn whole(mut body: RequestBody) -> Result<Bytes, BodyError> {
    let first = match body.frame().await {
        Some(frame) => frame?.into_data().unwrap_or_default(),
        None => Bytes::new(),
    };
    if body.is_end_stream() {
        return Ok(first);
    }
    let rest = body.collect().await?.to_bytes();
    if rest.is_empty() {
        return Ok(first);
    }
    Ok([first, rest].concat().into())
}

fn body_error(failure: &BodyError) -> Error {
    let (status, code) = match failure {
        BodyError::TooLarge { .. } => (413, "BODY_TOO_LARGE"),
        BodyError::Stalled => (408, "BODY_TIMEOUT"),
        BodyError::Broken(_) => (400, "BODY_BROKEN"),
    };
    crate::capability::error::error(status, code, failure.to_string(), failure)
}

/// The body is read after the handler's span has ended; what goes wrong in it shall name plugin and request, too, and what
/// it asks of the database is asked in the same name.
fn stream_body(body: Stream, watch: Watch) -> Body {
    let (span, caller) = (Span::current(), caller::current());
    let mut frames = body
        .map_ok(|chunk| Frame::data(Bytes::from(chunk)))
        .map_err(|failure| BoxError::from(failure.message.to_text()))
        .inspect_err(|failure| error!(%failure, "the plugin's answer broke off"));
    let frames = stream::poll_fn(move |cx| {
        let poll = || frames.poll_next_unpin(cx);
        let named = || caller::sync_scope(caller.clone(), poll);
        span.in_scope(|| watch.poll(named))
    });
    Body::stream(StreamBody::new(frames))
}

/// An error of the plugin as an answer; its cause goes into the log only.
fn refuse(failure: &Error) -> Response<Body> {
    if failure.kind == KIND_PANIC {
        // The message and its place are in the log: the plugin's hook has sent them.
        error!(
            panic = failure.message.to_text(),
            "the plugin's handler panicked"
        );
        return Problem::internal().into_response();
    }
    let status = u16::try_from(failure.status)
        .ok()
        .and_then(|status| StatusCode::from_u16(status).ok())
        .filter(|status| status.is_client_error() || status.is_server_error())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let cause = failure.cause.to_text();
    if status.is_server_error() || !cause.is_empty() {
        error!(
            code = failure.code.to_text(),
            cause, "the plugin's handler failed"
        );
    }
    let details: Value =
        serde_json::from_slice(failure.details.as_slice()).unwrap_or_else(|_| json!({}));
    let code = match failure.code.to_text() {
        code if code.is_empty() => "INTERNAL".to_owned(),
        code => code,
    };
    let body = json!({"error": failure.message.to_text(), "code": code, "details": details});
    let mut response = Response::new(Body::from(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    if failure.retry_after_ms > 0 {
        headers.insert(
            http::header::RETRY_AFTER,
            HeaderValue::from(failure.retry_after_ms.div_ceil(1_000)),
        );
    }
    response
}

//! From hyper's answer to what crosses: the head at once, the body chunk by chunk without copying.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body::Body as _;
use hyper::body::Incoming;
use nself_plugin_api::abi::{
    bytes::Bytes,
    error::Error,
    response::{Body, Response, push_header},
    stream::Stream,
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep_until},
};

use super::{error::EgressError, request::is_hop_by_hop};

/// What holds for the whole exchange.
pub(super) struct Limits {
    /// What errors call it.
    pub(super) origin: Arc<str>,
    /// The plugin's place among its exchanges, given up with the body.
    pub(super) _place: OwnedSemaphorePermit,
    pub(super) deadline: Instant,
    pub(super) timeout: Duration,
}

/// The answer for the plugin.
pub(super) fn convert(
    answer: http::Response<Incoming>,
    limits: Limits,
    plugin: Arc<str>,
) -> Response {
    let (head, body) = answer.into_parts();
    let mut block = Vec::with_capacity(512);
    for (name, value) in &head.headers {
        if !is_hop_by_hop(name) {
            push_header(&mut block, name.as_str(), value.as_bytes());
        }
    }
    let body = if body.is_end_stream() {
        Body::Bytes(Bytes::new())
    } else {
        let alarm = Box::pin(sleep_until(limits.deadline));
        Body::Stream(Stream::new(AnswerBody {
            plugin,
            alarm,
            open: Some((body, limits)),
        }))
    };
    Response::new(head.status.as_u16(), block, body)
}

/// The rest of the answer. After its end or an error, connection and place are free.
struct AnswerBody {
    plugin: Arc<str>,
    alarm: Pin<Box<Sleep>>,
    open: Option<(Incoming, Limits)>,
}

impl futures_util::Stream for AnswerBody {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some((body, limits)) = &mut this.open else {
            return Poll::Ready(None);
        };
        // The alarm first: a body that always has one more chunk must not outlive it.
        let item = if this.alarm.as_mut().poll(cx).is_ready() {
            Some(Err(EgressError::TimedOut {
                origin: Arc::clone(&limits.origin),
                timeout: limits.timeout,
            }))
        } else {
            ready!(poll_data(body, cx))
                .map(|chunk| chunk.map_err(|error| EgressError::failed(&limits.origin, &error)))
        };
        let item = match item {
            Some(Ok(chunk)) => return Poll::Ready(Some(Ok(chunk.into()))),
            Some(Err(error)) => Some(Err(error.for_plugin(&this.plugin))),
            None => None,
        };
        this.open = None;
        Poll::Ready(item)
    }
}

/// The next chunk of data; trailers are passed over.
fn poll_data(
    body: &mut Incoming,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<bytes::Bytes, hyper::Error>>> {
    loop {
        match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Poll::Ready(Some(Ok(data)));
                }
            }
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => return Poll::Ready(None),
        }
    }
}

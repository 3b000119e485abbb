//! Bodies: the caller's, held to its limits, and the answer's, which holds the plugin it came from.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::connection::{Busy, Connection};
use super::generation::InFlight;

/// Any error of a body's producer.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
#[derive(Default)]
pub struct Body {
    source: Source,
    /// Dropped with the body, that is when it has been sent or nobody wants it any more.
    hold: Option<Hold>,
}

#[derive(Default)]
enum Source {
    #[default]
    Empty,
    Full(Bytes),
    Stream(UnsyncBoxBody<Bytes, BoxError>),
}

/// What an answer keeps while it is being sent.
pub(super) struct Hold {
    _in_flight: InFlight,
    _busy: Option<Busy>,
    /// Resolves when a stream has to end before its producer ends it.
    ending: Option<Ending>,
}

/// An error when the end must not be taken for a whole answer.
pub(super) type Ending = Pin<Box<dyn Future<Output = Option<BoxError>> + Send>>;

impl Hold {
    pub(super) fn new(in_flight: InFlight, busy: Option<Busy>, ending: Option<Ending>) -> Self {
        Self {
            _in_flight: in_flight,
            _busy: busy,
            ending,
        }
    }
}

impl Body {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// A body that comes piece by piece. An error breaks the connection off, so that nobody takes half for whole.
    pub fn stream<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self {
            source: Source::Stream(body.map_err(Into::into).boxed_unsync()),
            hold: None,
        }
    }

    pub(super) fn is_stream(&self) -> bool {
        matches!(self.source, Source::Stream(_))
    }

    pub(super) fn hold(&mut self, hold: Hold) {
        self.hold = Some(hold);
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        let source = if bytes.is_empty() {
            Source::Empty
        } else {
            Source::Full(bytes)
        };
        Self { source, hold: None }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body")
            .field("size", &self.size_hint())
            .finish_non_exhaustive()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let body = &mut *self;
        match &mut body.source {
            Source::Empty => Poll::Ready(None),
            Source::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                body.source = Source::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Source::Stream(stream) => {
                let frame = Pin::new(stream).poll_frame(context);
                let ending = body.hold.as_mut().and_then(|hold| hold.ending.as_mut());
                // Only between two pieces: what the producer has already made is still sent.
                if frame.is_pending()
                    && let Some(ending) = ending
                    && let Poll::Ready(error) = ending.as_mut().poll(context)
                {
                    body.source = Source::Empty;
                    return Poll::Ready(error.map(Err));
                }
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Full(_) => false,
            Source::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Stream(stream) => stream.size_hint(),
        }
    }
}

/// Why a request's body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// More came than the route takes.
    #[error("the request body is larger than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// Nothing came for too long.
    #[error("the request body stopped coming")]
    Stalled,
    /// The connection broke, or what came is not HTTP.
    #[error("the request body broke off")]
    Broken(#[source] BoxError),
}

/// The body of a request. It ends with [`BodyError`] when it passes its limits; whatever the handler then answers,
/// the caller gets 413 or 408.
pub struct RequestBody {
    source: RequestSource,
    bytes_left: u64,
    bytes_max: u64,
    timeout: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    /// Only for bodies that can go wrong; most requests have none.
    fate: Option<Arc<Fate>>,
    connection: Option<Arc<Connection>>,
}

enum RequestSource {
    Empty,
    Full(Bytes),
    Incoming(Incoming),
}

/// How a body ended, for the one who answers.
#[derive(Debug, Default)]
pub(super) struct Fate(AtomicU8);

impl Fate {
    const TOO_LARGE: u8 = 1;
    const STALLED: u8 = 2;

    pub(super) fn too_large(&self) -> bool {
        self.0.load(Relaxed) == Self::TOO_LARGE
    }

    pub(super) fn stalled(&self) -> bool {
        self.0.load(Relaxed) == Self::STALLED
    }
}

impl RequestBody {
    fn new(source: RequestSource, connection: Option<Arc<Connection>>) -> Self {
        Self {
            source,
            bytes_left: u64::MAX,
            bytes_max: u64::MAX,
            timeout: Duration::MAX,
            stalled: None,
            fate: None,
            connection,
        }
    }

    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self::new(RequestSource::Empty, None)
    }

    pub(super) fn incoming(incoming: Incoming, connection: &Arc<Connection>) -> Self {
        if incoming.is_end_stream() {
            return Self::empty();
        }
        Self::new(
            RequestSource::Incoming(incoming),
            Some(Arc::clone(connection)),
        )
    }

    /// Sets the limits, and refuses a body that says beforehand that it will pass them.
    pub(super) fn limit(
        mut self,
        bytes_max: u64,
        timeout: Duration,
    ) -> Result<(Self, Option<Arc<Fate>>), BodyError> {
        if self.size_hint().lower() > bytes_max {
            return Err(BodyError::TooLarge { bytes_max });
        }
        (self.bytes_left, self.bytes_max, self.timeout) = (bytes_max, bytes_max, timeout);
        if let RequestSource::Incoming(_) = self.source {
            self.fate = Some(Arc::default());
        }
        let fate = self.fate.clone();
        Ok((self, fate))
    }

    fn poll_incoming(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let RequestSource::Incoming(incoming) = &mut self.source else {
            return Poll::Ready(None);
        };
        // Its length has come: the frame that only says so would cost another wake-up and another timer.
        if incoming.is_end_stream() {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = Pin::new(incoming).poll_frame(context) else {
            ready!(self.poll_stalled(context));
            self.end(Fate::STALLED);
            return Poll::Ready(Some(Err(BodyError::Stalled)));
        };
        self.stalled = None;
        let Some(frame) = frame else {
            return Poll::Ready(None);
        };
        let frame = frame.map_err(|error| BodyError::Broken(error.into()))?;
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        if length > self.bytes_left {
            self.end(Fate::TOO_LARGE);
            return Poll::Ready(Some(Err(BodyError::TooLarge {
                bytes_max: self.bytes_max,
            })));
        }
        self.bytes_left -= length;
        Poll::Ready(Some(Ok(frame)))
    }

    fn end(&self, how: u8) {
        if let Some(fate) = &self.fate {
            fate.0.store(how, Relaxed);
        }
    }

    /// Ready once nothing has come for the whole timeout. The timer exists only while something is awaited.
    fn poll_stalled(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = Instant::now().checked_add(self.timeout) else {
            return Poll::Pending;
        };
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        stalled.as_mut().poll(context)
    }
}

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        Self::new(
            if bytes.is_empty() {
                RequestSource::Empty
            } else {
                RequestSource::Full(bytes)
            },
            None,
        )
    }
}

impl std::fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestBody")
            .field("bytes_left", &self.bytes_left)
            .finish_non_exhaustive()
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let RequestSource::Full(bytes) = &mut self.source {
            let bytes = std::mem::take(bytes);
            self.source = RequestSource::Empty;
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        self.poll_incoming(context)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            RequestSource::Empty => true,
            RequestSource::Full(_) => false,
            RequestSource::Incoming(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            RequestSource::Empty => SizeHint::with_exact(0),
            RequestSource::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            RequestSource::Incoming(incoming) => incoming.size_hint(),
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        // The caller may still be sending; closing on it would destroy the answer on its way.
        if let Some(connection) = &self.connection
            && !self.is_end_stream()
        {
            connection.linger();
        }
    }
}

//! The body of an outgoing request, in the form that hyper sends.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use nself_plugin_api::abi::{self, stream::Stream};

/// Body of an outgoing request: whole, or as the plugin makes it.
#[derive(Debug)]
pub(super) enum RequestBody {
    Whole(Bytes),
    Chunks(ChunkStream),
}

/// A stream that the plugin makes.
pub(super) struct ChunkStream(Stream);

impl std::fmt::Debug for ChunkStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChunkStream")
    }
}

/// The plugin's stream has failed.
#[derive(Debug, thiserror::Error)]
#[error("the request's body failed with {code}: {message}")]
pub(super) struct BodyError {
    code: String,
    message: String,
}

impl RequestBody {
    pub(super) fn new(bytes: abi::bytes::Bytes, stream: Stream) -> Self {
        let bytes = Bytes::from(bytes);
        if bytes.is_empty() && !stream.is_empty() {
            Self::Chunks(ChunkStream(stream))
        } else {
            Self::Whole(bytes)
        }
    }

    /// Whether its length is known, so that the client states it.
    pub(super) fn is_sized(&self) -> bool {
        matches!(self, Self::Whole(_))
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Chunks(ChunkStream(stream)) => {
                let chunk = ready!(futures_util::Stream::poll_next(Pin::new(stream), cx));
                Poll::Ready(chunk.map(|chunk| match chunk {
                    Ok(bytes) => Ok(Frame::data(bytes.into())),
                    Err(error) => Err(BodyError {
                        code: error.code.to_text(),
                        message: error.message.to_text(),
                    }),
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Chunks(_) => SizeHint::default(),
        }
    }
}

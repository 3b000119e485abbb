//! The body: whole, or chunk by chunk.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};

use super::{Extract, Request};
use crate::{abi, error::Result};

/// The whole body. The host has limited its size (413).
#[derive(Debug, Clone)]
pub struct Body(pub Bytes);

impl Extract for Body {
    async fn extract(request: &mut Request) -> Result<Self> {
        let mut stream = BodyStream(request.raw.take_body());
        let Some(first) = stream.next().await.transpose()? else {
            return Ok(Self(Bytes::new()));
        };
        let Some(second) = stream.next().await.transpose()? else {
            return Ok(Self(first));
        };
        let mut whole = BytesMut::from(first);
        whole.extend_from_slice(&second);
        while let Some(chunk) = stream.next().await.transpose()? {
            whole.extend_from_slice(&chunk);
        }
        Ok(Self(whole.freeze()))
    }
}

/// The body as it arrives, without copies. Not reading it is the back pressure.
pub struct BodyStream(pub(crate) abi::stream::Stream);

impl Extract for BodyStream {
    async fn extract(request: &mut Request) -> Result<Self> {
        Ok(Self(request.raw.take_body()))
    }
}

impl Stream for BodyStream {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0)
            .poll_next(cx)
            .map(|item| item.map(|chunk| chunk.map(Into::into).map_err(Into::into)))
    }
}

//! Work that crosses: a future runs where it was made, a stream is asked for one chunk after the other.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, lock, stream};

use super::{Garbled, Object, Reader, RemoteObject, Reply, Wire, Writer};
use crate::abi::{
    bytes::{Bytes, OptBytes},
    error::Error,
    future::Fut,
    stream::Stream,
};

/// A future that waits to be driven.
struct Waiting(Mutex<Option<Fut<()>>>);

impl Object for Waiting {
    /// Drives it; once.
    fn serve(&self, _: u16, arguments: &mut Reader) -> Result<Reply, Garbled> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let future = waiting.take().ok_or(Garbled)?;
        Ok(Reply::later(arguments.link(), future))
    }
}

impl Wire for Fut<()> {
    fn send(self, out: Writer) -> Writer {
        out.object(Box::new(Waiting(Mutex::new(Some(self)))))
    }

    fn receive(input: &mut Reader) -> Result<Self, Garbled> {
        let object = input.object()?;
        Ok(Self::new(async move {
            object.call(0, object.arguments()).await
        }))
    }
}

/// A stream that is read by the other side.
struct Source(Arc<lock::Mutex<Stream>>);

impl Object for Source {
    /// The next chunk; nothing at the end.
    fn serve(&self, _: u16, arguments: &mut Reader) -> Result<Reply, Garbled> {
        let stream = Arc::clone(&self.0);
        let next = async move {
            let next = stream.lock().await.next().await;
            Ok(OptBytes::from(next.transpose()?))
        };
        Ok(Reply::later(arguments.link(), next))
    }
}

/// How a stream is written.
mod form {
    pub(super) const EMPTY: u8 = 0;
    pub(super) const WHOLE: u8 = 1;
    pub(super) const CHUNKS: u8 = 2;
}

impl Wire for Stream {
    fn send(self, out: Writer) -> Writer {
        if self.is_empty() {
            return out.raw(&[form::EMPTY]);
        }
        match self.into_whole() {
            Ok(bytes) => out.raw(&[form::WHOLE]).bytes(bytes.as_slice()),
            Err(stream) => {
                let source = Source(Arc::new(lock::Mutex::new(stream)));
                out.raw(&[form::CHUNKS]).object(Box::new(source))
            }
        }
    }

    fn receive(input: &mut Reader) -> Result<Self, Garbled> {
        match input.raw()? {
            [form::EMPTY] => Ok(Self::empty()),
            [form::WHOLE] => input.bytes().map(Self::whole),
            [form::CHUNKS] => input.object().map(chunks),
            _ => Err(Garbled),
        }
    }
}

fn chunks(object: RemoteObject) -> Stream {
    Stream::new(stream::try_unfold(object, |object| async move {
        let next: OptBytes = object.call(0, object.arguments()).await?;
        let chunk: Option<Bytes> = next.into();
        Ok::<_, Error>(chunk.map(|chunk| (chunk, object)))
    }))
}

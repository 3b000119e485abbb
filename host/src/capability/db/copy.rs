//! COPY in both directions, chunk by chunk.

use std::{pin::Pin, sync::Arc};

use deadpool_postgres::Object;
use futures_util::{SinkExt, StreamExt};
use nself_plugin_api::abi::{
    bytes::Bytes,
    capability::db::{CopyIn, CopyInProvider},
    error::Error,
    stream::Stream,
};
use tokio::sync::Mutex;
use tokio_postgres::CopyInSink;

use super::failure;
use crate::capability::error::error;

type Sink = Pin<Box<CopyInSink<bytes::Bytes>>>;

/// Gone once the copy is finished.
struct Sending {
    sink: Arc<Mutex<Option<Sink>>>,
}

pub(super) async fn into(connection: &Object, sql: &str) -> Result<CopyIn, Error> {
    let sink = connection
        .copy_in(sql)
        .await
        .map_err(|error| failure::statement(&error))?;
    Ok(CopyIn::new(Arc::new(Sending {
        sink: Arc::new(Mutex::new(Some(Box::pin(sink)))),
    })))
}

fn finished() -> Error {
    error(
        500,
        "COPY_FINISHED",
        "the copy is over",
        "used after finish",
    )
}

impl CopyInProvider for Sending {
    fn send(&self, chunk: Bytes) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let sink = Arc::clone(&self.sink);
        async move {
            let mut sink = sink.lock().await;
            let sink = sink.as_mut().ok_or_else(finished)?;
            sink.send(chunk.into())
                .await
                .map_err(|error| failure::statement(&error))
        }
    }

    fn finish(&self) -> impl Future<Output = Result<u64, Error>> + Send + 'static {
        let sink = Arc::clone(&self.sink);
        async move {
            let mut sink = sink.lock().await.take().ok_or_else(finished)?;
            sink.as_mut()
                .finish()
                .await
                .map_err(|error| failure::statement(&error))
        }
    }
}

pub(super) async fn out(connection: Arc<Object>, sql: &str) -> Result<Stream, Error> {
    let chunks = connection
        .copy_out(sql)
        .await
        .map_err(|error| failure::statement(&error))?;
    Ok(Stream::new(chunks.map(move |chunk| {
        // The connection stays out of the pool until the last chunk.
        let _held = &connection;
        chunk
            .map(Into::into)
            .map_err(|error| failure::statement(&error))
    })))
}

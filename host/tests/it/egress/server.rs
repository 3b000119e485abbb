//! A service on loopback that answers well, badly, or never.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};

/// Length of `/big`.
pub(super) const BIG_BYTES: usize = 16 * 1024 * 1024;

/// A running service; it stops when this goes.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// Requests that have arrived.
    pub(super) requests: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Plain HTTP.
    pub(super) async fn start() -> Self {
        Self::serve(|stream| async { Some(stream) }).await
    }

    /// HTTPS with `config`.
    pub(super) async fn start_tls(config: rustls::ServerConfig) -> Self {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        Self::serve(move |stream| {
            let acceptor = acceptor.clone();
            async move { acceptor.accept(stream).await.ok() }
        })
        .await
    }

    async fn serve<S, F>(wrap: impl Fn(tokio::net::TcpStream) -> F + Send + 'static) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = Option<S>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (stream, counter) = (wrap(stream), Arc::clone(&counter));
                tokio::spawn(async move {
                    let Some(stream) = stream.await else { return };
                    let service = service_fn(move |request| {
                        counter.fetch_add(1, Ordering::SeqCst);
                        answer(request)
                    });
                    // The client may go away; that is its test's business.
                    drop(
                        auto::Builder::new(TokioExecutor::new())
                            .serve_connection(TokioIo::new(stream), service)
                            .await,
                    );
                });
            }
        });
        Self {
            address,
            requests,
            task,
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

fn whole(body: impl Into<Bytes>) -> UnsyncBoxBody<Bytes, Infallible> {
    Full::new(body.into()).boxed_unsync()
}

fn chunks(
    chunks: impl futures_util::Stream<Item = Bytes> + Send + 'static,
) -> UnsyncBoxBody<Bytes, Infallible> {
    BodyExt::boxed_unsync(StreamBody::new(chunks.map(|chunk| Ok(Frame::data(chunk)))))
}

async fn answer(request: Request<Incoming>) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    let builder = Response::builder();
    let answer = match head.uri.path() {
        // The head of the request as headers, its body as body.
        "/echo" => {
            let mut builder = builder
                .header("x-method", head.method.as_str())
                .header("x-version", format!("{:?}", head.version));
            for (name, value) in &head.headers {
                builder = builder.header(format!("x-sent-{name}"), value);
            }
            let body = body
                .collect()
                .await
                .map(http_body_util::Collected::to_bytes)
                .unwrap_or_default();
            builder.body(whole(body))
        }
        "/redirect" => builder
            .status(302)
            .header("location", "http://169.254.169.254/latest/meta-data")
            .body(whole("moved")),
        "/stalls" => builder.body(chunks(
            stream::iter([Bytes::from_static(b"first")]).chain(stream::pending()),
        )),
        "/endless" => builder.body(chunks(stream::repeat(Bytes::from_static(&[b'x'; 1024])))),
        "/big" => builder
            .body(chunks(stream::iter((0..BIG_BYTES / 65_536).map(
                |number| Bytes::from(vec![u8::try_from(number % 251).unwrap(); 65_536]),
            )))),
        "/breaks" => builder
            .header("content-length", "100")
            .body(chunks(stream::unfold(true, |first| async move {
                // The pause lets the head go out before the connection breaks.
                tokio::task::yield_now().await;
                first.then(|| (Bytes::from_static(b"short"), false))
            }))),
        "/silent" => std::future::pending().await,
        _ => builder.status(404).body(whole("")),
    };
    Ok(answer.unwrap())
}

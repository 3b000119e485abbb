//! The handshake of one connection.

use std::{io, net::SocketAddr, sync::Arc};

use serde_json::json;
use tokio::{io::AsyncWriteExt as _, sync::watch};
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::{
    super::{
        RequestId,
        connection::{Connection, Phase},
        timed::Timed,
    },
    Tls,
    metrics::Failure,
};

/// Shakes hands; nothing when no conversation comes of it, which is counted and no more than a line for who looks closely: strangers could fill the
/// log with it. A connection that has not got through when listeners drain has asked for nothing and is let go.
pub(in crate::http) async fn shake(
    tls: Arc<Tls>,
    timed: Timed,
    connection: Arc<Connection>,
    peer: SocketAddr,
    mut phase: watch::Receiver<Phase>,
) -> Option<Box<TlsStream<Timed>>> {
    let shaken = tokio::select! {
        biased;
        shaken = tls.accept(timed, &connection) => shaken,
        _ = phase.wait_for(|phase| *phase >= Phase::Draining) => return None,
    };
    match shaken {
        Ok(stream) => Some(stream),
        Err((failure, cause)) => {
            tls.metrics.failed(failure);
            debug!(%peer, reason = failure.as_str(), cause, "no TLS came about");
            None
        }
    }
}

impl Tls {
    async fn accept(
        &self,
        mut timed: Timed,
        connection: &Connection,
    ) -> Result<Box<TlsStream<Timed>>, (Failure, String)> {
        let first = timed.first_byte().await.map_err(|error| failed(&error))?;
        match first {
            None => Err((Failure::Gone, "it said nothing".to_owned())),
            // Every method begins with a capital. TLS begins with 22, a record of its handshake (RFC 8446, 5.1).
            Some(b'A'..=b'Z') => {
                // Whether it hears that is its business.
                let _ = refuse(timed, connection).await;
                Err((Failure::PlainHttp, "it spoke plain HTTP".to_owned()))
            }
            Some(_) => {
                let accepted = self.acceptor.accept(timed).await;
                accepted.map(Box::new).map_err(|error| failed(&error))
            }
        }
    }
}

fn failed(error: &io::Error) -> (Failure, String) {
    let failure = match error.kind() {
        io::ErrorKind::TimedOut => Failure::Timeout,
        io::ErrorKind::InvalidData => Failure::Refused,
        _ => Failure::Gone,
    };
    (failure, error.to_string())
}

/// Answers a caller that took this for a port without TLS. It may have sent much more than was looked at, so the connection is closed gently.
async fn refuse(mut timed: Timed, connection: &Connection) -> io::Result<()> {
    connection.linger();
    timed.write_all(refusal().as_bytes()).await?;
    timed.shutdown().await
}

fn refusal() -> String {
    let problem = json!({
        "error": "this port speaks TLS: write https:// instead of http://",
        "code": "HTTPS_REQUIRED",
        "details": {},
    });
    let body = problem.to_string();
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\ncache-control: no-store\r\nx-request-id: {}\r\nconnection: close\r\n\r\n{body}",
        body.len(),
        RequestId::new(),
    )
}

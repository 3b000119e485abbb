//! One request in memory: no socket, no scheduler, so that what is left is the host's path and the boundary.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use nself::{
    http::{Body, Door, Gateway, RequestBody, path::answer},
    postgres::scratch::Scratch,
};

use crate::{
    Failure, Result,
    client::{self, Http},
    cpu::thread_time,
    project::{self, Project},
    report::{Pairs, Report},
    stage,
};

/// Requests in one measurement.
const BATCH: u32 = 500;

const ROUNDS: usize = 200;

/// Bytes of the body.
const BODY_BYTES: usize = 1024;

static BODY: [u8; BODY_BYTES] = [b'x'; BODY_BYTES];

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let database = Scratch::shared().database().await;
    let project = Project::new()?;
    project.put(0, 0)?;
    let host = project::start(project.path(), &database.url()).await?;
    host.registry().enable("bench00").await?;
    let gateway = stage::gateway(&host, &database.url()).await?;

    let alone = Pairs::measure(
        ROUNDS,
        async || answered(&gateway, "/native/echo").await,
        async || answered(&gateway, "/bench00/echo").await,
    )
    .await?;
    let micros = |pairs: &Pairs| format!(" (native {:.2} µs)", pairs.native().median * 1e6);
    let name = format!(
        "echo 1 KiB, the gateway's path alone: CPU{}",
        micros(&alone)
    );
    report.spread(&name, alone.ratio(), "x", "");

    let mut native = piped(&gateway, "/native/echo");
    let mut plugin = piped(&gateway, "/bench00/echo");
    let through_hyper = Pairs::measure(
        ROUNDS,
        async || native.batch().await,
        async || plugin.batch().await,
    )
    .await?;
    let name = format!(
        "echo 1 KiB, hyper over a pipe in memory: CPU{}",
        micros(&through_hyper)
    );
    report.spread(&name, through_hyper.ratio(), "x", "<= 1.20x");
    host.stop(std::time::Duration::from_secs(5)).await;
    Ok(())
}

/// The caller at the other end of the wire that does not exist.
fn door() -> Door {
    Door {
        plugin: None,
        peer: SocketAddr::from(([127, 0, 0, 1], 4000)),
        is_tls: false,
    }
}

fn request(path: &str) -> Result<Request<RequestBody>> {
    let builder = Request::post(path)
        .header("host", "127.0.0.1:3000")
        .header("user-agent", "nself-bench/0.1")
        .header("accept", "*/*")
        .header("content-type", "application/octet-stream")
        .header("content-length", "1024")
        .header("x-mark", "0123456789abcdef");
    Ok(builder.body(RequestBody::from(Bytes::from_static(&BODY)))?)
}

/// Seconds of CPU for one request.
async fn answered(gateway: &Gateway, path: &str) -> Result<f64> {
    let door = door();
    let started = thread_time();
    for _ in 0..BATCH {
        let response = answer(gateway, &door, None, request(path)?).await;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status != 200 || body.len() != BODY_BYTES {
            return Err(Failure::from(format!("{path} answered {status}")));
        }
    }
    Ok(thread_time().saturating_sub(started).as_secs_f64() / f64::from(BATCH))
}

/// A connection that hyper serves over a pipe.
struct Piped {
    client: Http<tokio::io::DuplexStream>,
    request: Vec<u8>,
}

fn piped(gateway: &Arc<Gateway>, path: &str) -> Piped {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let gateway = Arc::clone(gateway);
    let service = service_fn(move |request: Request<Incoming>| {
        let gateway = Arc::clone(&gateway);
        async move { through(&gateway, request).await }
    });
    tokio::spawn(
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(theirs), service),
    );
    Piped {
        client: Http::over(ours),
        request: client::post(path, &BODY),
    }
}

async fn through(gateway: &Gateway, request: Request<Incoming>) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let body = RequestBody::from(body.collect().await?.to_bytes());
    Ok(answer(gateway, &door(), None, Request::from_parts(parts, body)).await)
}

impl Piped {
    async fn batch(&mut self) -> Result<f64> {
        let started = thread_time();
        for _ in 0..BATCH {
            let answer = self.client.send(&self.request).await?;
            if answer.status != 200 || answer.body_bytes != BODY_BYTES {
                return Err(Failure::from(format!("answered {}", answer.status)));
            }
        }
        Ok(thread_time().saturating_sub(started).as_secs_f64() / f64::from(BATCH))
    }
}

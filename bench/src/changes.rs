//! Versions are exchanged under load, and no caller may notice.

use std::{cell::Cell, net::SocketAddr, time::Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use nself::postgres::scratch::Scratch;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    Failure, Result,
    child::{Log, Served},
    client::{self, Answer, Http},
    cpu,
    project::Project,
    report::{Report, at_most},
    websocket::Socket,
};

/// Exchanges: every second one goes back to the version before.
const SWAPS: u32 = 200;

/// Callers of each kind.
const CALLERS: usize = 4;

/// Bytes of a streamed body.
const STREAM_BYTES: usize = 20 * 1024;

/// What the callers saw.
#[derive(Default)]
struct Seen {
    requests: Cell<u64>,
    streams: Cell<u64>,
    messages: Cell<u64>,
    reopened: Cell<u64>,
    failed: Cell<u64>,
    done: Cell<bool>,
}

fn count(cell: &Cell<u64>) {
    cell.set(cell.get() + 1);
}

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    cpu::pin(None, 1)?;
    let database = Scratch::shared().database().await;
    let project = Project::new()?;
    project.put(0, 0)?;
    let mut served = Served::start(project.path(), &database.url(), Log::Off, &["bench00"]).await?;
    let address = served.gateway;
    let seen = Seen::default();
    let callers = join_all((0..CALLERS).map(|_| async {
        tokio::join!(
            ask(address, &seen),
            download(address, &seen),
            talk(address, &seen)
        );
    }));
    let swaps = async {
        let done = swap(&project, &mut served).await;
        seen.done.set(true);
        done
    };
    let started = Instant::now();
    let (swapped, _) = tokio::join!(swaps, callers);
    swapped?;
    let exchanges = at_most(SWAPS / 2) * 2;
    let name = format!("{exchanges} exchanges under load: failed requests");
    report.text(&name, seen.failed.get().to_string(), "0");
    let Seen {
        requests,
        streams,
        messages,
        reopened,
        ..
    } = &seen;
    report.text(
        "the same: what went well meanwhile",
        format!(
            "{} requests, {} streamed bodies, {} messages on {} sockets, {:.0} s",
            requests.get(),
            streams.get(),
            messages.get(),
            reopened.get(),
            started.elapsed().as_secs_f64()
        ),
        "",
    );
    Ok(())
}

async fn swap(project: &Project, served: &mut Served) -> Result<()> {
    for number in 0..at_most(SWAPS / 2) {
        project.put(0, number + 1)?;
        for verb in ["upgrade", "rollback"] {
            let changed = served.change(verb, "bench00").await?;
            if changed["clean"] != true {
                return Err(Failure::from(format!("{verb} {number} cut something off")));
            }
        }
    }
    Ok(())
}

/// One request after the other on a kept connection; a connection that says that it ends is opened again.
async fn each(address: SocketAddr, seen: &Seen, request: &[u8], good: impl Fn(Answer)) {
    let mut connection = None;
    while !seen.done.get() {
        let sent = async {
            let mut open = match connection.take() {
                Some(open) => open,
                None => Http::over(TcpStream::connect(address).await?),
            };
            let answer = open.send(request).await?;
            Ok::<_, std::io::Error>((open, answer))
        };
        match sent.await {
            Ok((open, answer)) => {
                good(answer);
                connection = (!answer.last).then_some(open);
            }
            Err(failure) => {
                eprintln!("  a request failed: {failure}");
                count(&seen.failed);
            }
        }
    }
}

async fn ask(address: SocketAddr, seen: &Seen) {
    let request = client::post("/bench00/echo", &[b'x'; 1024]);
    each(address, seen, &request, |answer| {
        let good = answer.status == 200 && answer.body_bytes == 1024;
        count(if good { &seen.requests } else { &seen.failed });
    })
    .await;
}

async fn download(address: SocketAddr, seen: &Seen) {
    let request = client::get("/bench00/stream");
    each(address, seen, &request, |answer| {
        let good = answer.status == 200 && answer.body_bytes == STREAM_BYTES;
        count(if good { &seen.streams } else { &seen.failed });
    })
    .await;
}

/// A socket that is closed with a code is opened again, as a client does.
async fn talk(address: SocketAddr, seen: &Seen) {
    let message = Message::Binary(Bytes::from_static(&[b'x'; 64]));
    while !seen.done.get() {
        count(&seen.reopened);
        let conversation = async {
            let mut socket = Socket::open(address, "/bench00/socket").await?;
            while !seen.done.get() && socket.echo(&message).await? {
                count(&seen.messages);
                tokio::task::yield_now().await;
            }
            Ok::<_, Failure>(())
        };
        if let Err(failure) = conversation.await {
            eprintln!("  a socket failed: {failure}");
            count(&seen.failed);
        }
    }
}

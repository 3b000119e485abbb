//! Over loopback TCP: the server process on one core, the callers on the other. CPU is the server's, the system's share of it
//! included.

use std::{net::SocketAddr, time::Instant};

use bytes::Bytes;
use futures_util::future::try_join_all;
use nself::postgres::scratch::Scratch;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    Failure, Result,
    child::{Log, Served},
    client::{self, Http},
    cpu,
    project::Project,
    report::{Pairs, Report, at_most},
    websocket::Socket,
};

/// Connections at a time.
const CONNECTIONS: usize = 8;

/// Requests, or messages, of one connection in one measurement.
const EACH: u32 = 250;

const ROUNDS: usize = 60;

static BODY: [u8; 1024] = [b'x'; 1024];

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    cpu::pin(None, 1)?;
    let database = Scratch::shared().database().await;
    for log in [Log::Off, Log::On] {
        let project = Project::new()?;
        project.put(0, 0)?;
        let served = Served::start(project.path(), &database.url(), log, &["bench00"]).await?;
        let name = match log {
            Log::Off => "over TCP, no log",
            Log::On => "over TCP, access log on",
        };
        http(report, &served, name).await?;
        if log == Log::Off {
            sockets(report, &served).await?;
        }
    }
    Ok(())
}

/// What a round used: seconds of the server's CPU and seconds of time, each for one request.
#[derive(Debug, Clone, Copy)]
struct Used {
    cpu: f64,
    time: f64,
}

/// Measures `round`, which does `count` requests.
async fn used(
    served: &Served,
    count: usize,
    round: impl AsyncFnOnce() -> Result<()>,
) -> Result<Used> {
    let (cpu, started) = (served.cpu_time()?, Instant::now());
    round().await?;
    let time = started.elapsed().as_secs_f64();
    let cpu = served.cpu_time()?.saturating_sub(cpu).as_secs_f64();
    let count = u32::try_from(count).map(f64::from)?;
    Ok(Used {
        cpu: cpu / count,
        time: time / count,
    })
}

/// CPU in pairs, and time beside it.
#[derive(Default)]
pub(crate) struct Both {
    pub(crate) cpu: Pairs,
    pub(crate) time: Pairs,
}

impl Both {
    fn push(&mut self, native: Used, plugin: Used) {
        self.cpu.push(native.cpu, plugin.cpu);
        self.time.push(plugin.time, native.time);
    }
}

async fn http(report: &mut Report, served: &Served, name: &str) -> Result<()> {
    let paths = ["/native/echo", "/bench00/echo"];
    let both = echoes(served, stage(served)?, paths).await?;
    let micros = both.cpu.native().median * 1e6;
    report.spread(
        &format!("echo 1 KiB {name}: CPU (native {micros:.1} µs)"),
        both.cpu.ratio(),
        "x",
        "<= 1.08x",
    );
    let rate = format!("echo 1 KiB {name}: requests/s");
    report.spread(&rate, both.time.ratio(), "x", ">= 0.95x");
    Ok(())
}

/// Requests at one address and at another, in turns.
pub(crate) async fn echoes(
    served: &Served,
    address: SocketAddr,
    [native, plugin]: [&str; 2],
) -> Result<Both> {
    let mut native = Callers::open(address, native).await?;
    let mut plugin = Callers::open(address, plugin).await?;
    let mut both = Both::default();
    for round in 0..=at_most(ROUNDS) {
        let (first, second) = if round % 2 == 0 {
            let first = native.round(served).await?;
            (first, plugin.round(served).await?)
        } else {
            let second = plugin.round(served).await?;
            (native.round(served).await?, second)
        };
        // The first one warms up.
        if round > 0 {
            both.push(first, second);
        }
    }
    Ok(both)
}

fn stage(served: &Served) -> Result<SocketAddr> {
    served
        .stage
        .ok_or_else(|| Failure::from("the server has no native routes"))
}

struct Callers {
    connections: Vec<Http<TcpStream>>,
    request: Vec<u8>,
}

impl Callers {
    async fn open(address: SocketAddr, path: &str) -> Result<Self> {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            connections.push(Http::over(stream));
        }
        Ok(Self {
            connections,
            request: client::post(path, &BODY),
        })
    }

    async fn round(&mut self, served: &Served) -> Result<Used> {
        let request = &self.request;
        let connections = self.connections.iter_mut();
        let callers = connections.map(async |connection| {
            for _ in 0..EACH {
                let answer = connection.send(request).await?;
                if answer.status != 200 {
                    return Err(Failure::from(format!("answered {}", answer.status)));
                }
            }
            Ok(())
        });
        let count = CONNECTIONS * usize::try_from(EACH)?;
        used(served, count, async || {
            try_join_all(callers).await.map(drop)
        })
        .await
    }
}

async fn sockets(report: &mut Report, served: &Served) -> Result<()> {
    let paths = ["/native/socket", "/bench00/socket"];
    let both = messages(served, stage(served)?, paths).await?;
    let micros = both.cpu.native().median * 1e6;
    let name = format!("websocket echo 64 bytes: CPU (native {micros:.1} µs)");
    report.spread(&name, both.cpu.ratio(), "x", "<= 1.10x");
    report.spread(
        "websocket echo 64 bytes: messages/s",
        both.time.ratio(),
        "x",
        "",
    );
    Ok(())
}

/// Messages of sockets at one address and at another, in turns.
pub(crate) async fn messages(
    served: &Served,
    address: SocketAddr,
    [native, plugin]: [&str; 2],
) -> Result<Both> {
    let mut native = open_sockets(address, native).await?;
    let mut plugin = open_sockets(address, plugin).await?;
    let mut both = Both::default();
    for round in 0..=at_most(ROUNDS) {
        let (first, second) = if round % 2 == 0 {
            let first = echo(&mut native, served).await?;
            (first, echo(&mut plugin, served).await?)
        } else {
            let second = echo(&mut plugin, served).await?;
            (echo(&mut native, served).await?, second)
        };
        if round > 0 {
            both.push(first, second);
        }
    }
    Ok(both)
}

async fn open_sockets(address: SocketAddr, path: &str) -> Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for _ in 0..CONNECTIONS {
        sockets.push(Socket::open(address, path).await?);
    }
    Ok(sockets)
}

async fn echo(sockets: &mut [Socket], served: &Served) -> Result<Used> {
    let message = Message::Binary(Bytes::from_static(&[b'x'; 64]));
    let message = &message;
    let count = sockets.len() * usize::try_from(EACH)?;
    let callers = sockets.iter_mut().map(async |socket| {
        for _ in 0..EACH {
            if !socket.echo(message).await? {
                return Err(Failure::from("the server closed the socket"));
            }
        }
        Ok(())
    });
    used(served, count, async || {
        try_join_all(callers).await.map(drop)
    })
    .await
}

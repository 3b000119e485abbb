//! A plugin that does nothing but panic, and its neighbour.

use std::{net::SocketAddr, time::Instant};

use futures_util::future::try_join_all;
use nself::postgres::scratch::Scratch;
use tokio::net::TcpStream;

use crate::{
    Failure, Result,
    child::{Log, Served},
    client::{self, Http},
    cpu,
    project::Project,
    report::{Pairs, Report, at_most, quantile},
};

const PANICS: u32 = 10_000;

/// Panics of one caller in one measurement, and rounds of them: 4 callers, 10,000 together.
const CALLERS: u32 = 4;
const ROUNDS: u32 = 25;

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    cpu::pin(None, 1)?;
    let database = Scratch::shared().database().await;
    let project = Project::new()?;
    project.put(0, 0)?;
    project.put(1, 0)?;
    let enable = ["bench00", "bench01"];
    let served = Served::start(project.path(), &database.url(), Log::Off, &enable).await?;
    let address = served.gateway;
    // What the first ones leave behind is not a leak.
    call(address, "/bench00/panic", 500, 500).await?;
    call(address, "/bench01/echo", 200, 500).await?;
    let before = served.resident_kib()?;
    let each = PANICS / CALLERS / ROUNDS;
    let mut p99 = Pairs::default();
    for _ in 0..at_most(ROUNDS) {
        // The neighbour of as many callers whose requests go well is what it is compared with.
        let well = neighbour(address, "/bench00/echo", 200, each).await?;
        let panicking = neighbour(address, "/bench00/panic", 500, each).await?;
        p99.push(well, panicking);
    }
    let after = served.resident_kib()?;
    let name = format!("{PANICS} panicking requests");
    report.text(&name, "all 500", "all 500");
    let grown = format!("{} KiB", after.saturating_sub(before));
    report.text("the same: memory more than before", grown, "flat");
    report.spread(
        "the same: p99 of another plugin, beside panics / beside answers",
        p99.ratio(),
        "x",
        "<= 1.10x",
    );
    Ok(())
}

/// The neighbour's p99 in seconds while the other plugin answers `each` requests of every caller.
async fn neighbour(address: SocketAddr, path: &str, status: u16, each: u32) -> Result<f64> {
    let others = (0..CALLERS).map(|_| call(address, path, status, each));
    let (times, others) = tokio::join!(
        call(address, "/bench01/echo", 200, each),
        try_join_all(others)
    );
    others?;
    Ok(quantile(&times?, 99))
}

/// Sends so many requests one after the other; their times in seconds, sorted.
async fn call(address: SocketAddr, path: &str, status: u16, count: u32) -> Result<Vec<f64>> {
    let request = if path.ends_with("/echo") {
        client::post(path, &[b'x'; 1024])
    } else {
        client::get(path)
    };
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut connection = Http::over(stream);
    let mut times = Vec::new();
    for _ in 0..count {
        let started = Instant::now();
        let answer = connection.send(&request).await?;
        times.push(started.elapsed().as_secs_f64());
        if answer.status != status {
            return Err(Failure::from(format!("{path} answered {}", answer.status)));
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}
